import { TWINS } from '../../api/collections.ts';
import type { Links } from '../../api/link.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { groupOf, type Exclusions } from './exclusions.ts';
import { isGated, isVirtual, selectedPeers, type Home } from './home.ts';
import { allocatableOf, podRequests, subtract, takesRoom, type Amounts } from './plan-fit.ts';
import { judgeClaims } from './plan-claims.ts';
import { whyNotFloatable } from './plan-floatable.ts';
import { explainNoFit, placementRecordOf, planPlacementPatch } from './plan-placement-patch.ts';
import {
  groupCounts,
  HOME_PLACE,
  planPlacements,
  usedByNode,
  type GatedPod,
  type Placement,
  type PlanNode,
} from './plan-placement.ts';

export interface PlacementControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly exclusions: Exclusions;
}

interface Spot {
  readonly node: string;
  readonly place: string;
}

/** Type of the condition that says why a pod still waits. */
export const FLOAT_CONDITION = 'fluvia.dev/Float';
const KEY = 'plan';
/** Refusals and the like expire without any event. */
const RETRY_MS = 15_000;

/** Places gated pods: plans them in one batch over fresh caches, then one PATCH for each. */
export const startPlacement = (options: PlacementControllerOptions, signal: AbortSignal): void => {
  const { deps, home, links, exclusions } = options;
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });
  /** Placed by this process, not yet seen so in the cache. */
  const assumed = new Map<string, Spot>();

  const peerOfNode = (node: string): string | undefined => home.virtualNodes.get(undefined, node)?.spec.peer;

  const spotOf = (pod: Pod): Spot | undefined => {
    const { nodeName } = pod.spec;
    if (nodeName) return { node: nodeName, place: peerOfNode(nodeName) ?? HOME_PLACE };
    const known = assumed.get(pod.metadata.uid ?? '');
    if (known !== undefined || isGated(pod)) return known;
    const record = placementRecordOf(pod);
    return record && { node: record.node, place: record.place === 'home' ? HOME_PLACE : record.place };
  };

  const openPeers = (namespace: string): readonly string[] => {
    const offloading = home.offloadingOf(namespace);
    if (offloading === undefined || offloading.metadata.deletionTimestamp !== undefined) return [];
    return selectedPeers(offloading, home.peers.list())
      .filter((peer) => !peer.spec.cordoned && !peer.spec.paused)
      .map((peer) => peer.metadata.name)
      .filter((peer) => links.get(peer)?.follow(TWINS).get(namespace)?.ready === true);
  };

  const toPlan = (pod: Pod): GatedPod => {
    const namespace = pod.metadata.namespace ?? '';
    const offloading = home.offloadingOf(namespace);
    const isOpen = offloading !== undefined && offloading.metadata.deletionTimestamp === undefined;
    const claims = judgeClaims(pod.spec, {
      claim: (name) => home.volumeClaims.get(namespace, name),
      volume: (name) => home.volumes.get(undefined, name),
    });
    return {
      uid: pod.metadata.uid ?? '',
      // Only the plan sees the selector: kube-scheduler knows it from the volumes themselves.
      spec: { ...pod.spec, nodeSelector: { ...pod.spec.nodeSelector, ...claims.nodeSelector } },
      requests: podRequests(pod.spec),
      group: groupOf(pod),
      strategy: isOpen ? offloading.spec.strategy : undefined,
      stays: whyNotFloatable(pod, claims.floating),
      notHome: claims.notHome,
      waits: claims.waits,
      openPeers: isOpen ? openPeers(namespace) : [],
      excluded: exclusions.of(pod),
    };
  };

  const planNodes = (): readonly PlanNode[] => {
    const used = usedByNode(
      home.pods
        .list()
        .filter(takesRoom)
        .flatMap((pod) => {
          const spot = spotOf(pod);
          return spot === undefined ? [] : [{ node: spot.node, requests: podRequests(pod.spec) }];
        }),
    );
    const none: Amounts = {};
    return home.nodes.list().flatMap((node) => {
      const { name } = node.metadata;
      const peer = peerOfNode(name);
      if (isVirtual(node) && peer === undefined) return [];
      return [{ node, peer, free: subtract(allocatableOf(node), used.get(name) ?? none) }];
    });
  };

  const place = async (pod: Pod, placement: Placement): Promise<void> => {
    const { name, namespace, uid = '' } = pod.metadata;
    const peers = [...new Set(home.virtualNodes.list().map((vn) => vn.spec.peer))];
    const patch = planPlacementPatch(pod, placement, peers);
    if (patch === undefined) return waits(pod, explainNoFit(placement));
    let { resourceVersion } = pod.metadata;
    if ((pod.status?.nominatedNodeName ?? '') !== (patch.nominatedNodeName ?? '')) {
      const body = {
        metadata: { uid, resourceVersion },
        status: { nominatedNodeName: patch.nominatedNodeName ?? null },
      };
      const written = await client.patch<Pod>(POD, name, namespace, body, {
        type: 'merge',
        subresource: 'status',
        signal,
      });
      ({ resourceVersion } = written.metadata);
    }
    const body = {
      ...patch.body,
      metadata: { ...(patch.body['metadata'] as object), uid, resourceVersion },
    };
    await client.patch(POD, name, namespace, body, { type: 'merge', signal });
    assumed.set(uid, { node: patch.record.node, place: placement.ranked[0]?.place ?? HOME_PLACE });
    deps.events.record(pod, {
      type: 'Normal',
      reason: 'Floated',
      note: `placed at ${patch.record.place} (candidates: ${patch.record.candidates.join(', ')})`,
    });
  };

  const waits = async (pod: Pod, message: string): Promise<void> => {
    const { name, namespace, uid } = pod.metadata;
    const old = pod.status?.conditions?.find((c) => c.type === FLOAT_CONDITION);
    if (old?.status === 'False' && old.message === message) return;
    const lastTransitionTime =
      old?.status === 'False' ? old.lastTransitionTime : deps.clock.now().toISOString();
    const condition = {
      type: FLOAT_CONDITION,
      status: 'False',
      reason: 'NothingFits',
      message,
      lastTransitionTime,
    };
    await client.patch(
      POD,
      name,
      namespace,
      { metadata: { uid }, status: { conditions: [condition] } },
      { type: 'strategic', subresource: 'status', signal },
    );
    deps.events.record(pod, { type: 'Warning', reason: 'NothingFits', note: `no place fits: ${message}` });
  };

  const forget = (): void => {
    const waiting = new Set(home.gatedPods().map((pod) => pod.metadata.uid));
    for (const uid of assumed.keys()) if (!waiting.has(uid)) assumed.delete(uid);
  };

  const reconcile = async (): Promise<ReconcileResult> => {
    forget();
    const gated = home
      .gatedPods()
      .filter((pod) => pod.metadata.deletionTimestamp === undefined && !assumed.has(pod.metadata.uid ?? ''))
      .toSorted(
        (a, b) =>
          (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
          (keyOf(a) < keyOf(b) ? -1 : 1),
      );
    if (gated.length === 0) return {};
    const alike = new Set(gated.map(groupOf));
    const counts = groupCounts(
      home.pods
        .list()
        .filter(
          (pod) => takesRoom(pod) && pod.metadata.deletionTimestamp === undefined && alike.has(groupOf(pod)),
        )
        .flatMap((pod) => {
          const spot = spotOf(pod);
          return spot === undefined ? [] : [{ group: groupOf(pod), place: spot.place }];
        }),
    );
    const placements = planPlacements(gated.map(toPlan), planNodes(), counts);
    let failure: unknown;
    for (const [index, placement] of placements.entries()) {
      const pod = gated[index];
      if (pod === undefined) continue;
      await place(pod, placement).catch((err: unknown) => {
        // Changed or gone meanwhile: the cache will say so, and the next pass sees it.
        if (isConflict(err) || isNotFound(err)) return;
        deps.log.warn('pod not placed', { controller: 'offloading.placement', key: keyOf(pod), err });
        failure = err;
      });
    }
    if (failure !== undefined) throw failure;
    return { requeueAfterMs: RETRY_MS };
  };

  links.onLink((link) => {
    link.follow(TWINS).onChange(() => queue.add(KEY));
    link.onStateChange(() => queue.add(KEY));
  });
  const always = (): string[] => [KEY];
  void runController(
    {
      name: 'offloading.placement',
      queue,
      workers: 1,
      sources: [
        watchSource(home.pods, ({ type, object }) =>
          type === 'deleted' || isGated(object) || !takesRoom(object) ? [KEY] : [],
        ),
        watchSource(home.nodes, always),
        watchSource(home.virtualNodes, always),
        watchSource(home.offloadings, always),
        watchSource(home.peers, always),
        watchSource(home.volumeClaims, always),
        watchSource(home.volumes, always),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
