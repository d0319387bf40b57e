import { HOME_PLACE } from '../../api/places.ts';
import { SHADOW_STATUS, TWINS } from '../../api/collections.ts';
import { FITS } from '../../api/fits-collection.ts';
import { ANNOTATIONS } from '../../api/labels.ts';
import type { Links } from '../../api/link.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isDefaultClass } from '../../runtime/kube/storage-types.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Pod, type PodSpec } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { groupOf, type Exclusions } from './exclusions.ts';
import { isGated, isVirtual, selectedPeers, type Home } from './home.ts';
import { allocatableOf, podRequests, subtract, takesRoom, type Amounts } from './plan-fit.ts';
import { judgeClaims, type ClaimLookup, type ClaimsMode } from './plan-claims.ts';
import { dataBytes, placedVolumes, whyDataElsewhere } from './plan-data.ts';
import { whyNotFloatable } from './plan-floatable.ts';
import {
  explainNoFit,
  placementRecordOf,
  planPlacementPatch,
  waitingRecord,
} from './plan-placement-patch.ts';
import {
  groupCounts,
  createPlanner,
  usedByNode,
  type GatedPod,
  type Placement,
  type Planner,
  type PlanNode,
} from './plan-placement.ts';
import { openPlacementFacts } from './placement-facts.ts';
import { createPodsMadeAgain } from './pods-made-again.ts';
import { watchStranded } from './stranded-pods.ts';
import { slotsLeft, type PodAtPeer } from './plan-uncounted.ts';
import { openUnmadeVolumes, type HomelessPod } from './unmade-volumes.ts';

export interface PlacementControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly exclusions: Exclusions;
}

/** A pod as the planner sees it, and its volumes that were never made. */
interface Planned extends GatedPod {
  readonly unmade: readonly string[];
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
/** Passes are at least this far apart, so that a burst is planned as a whole. */
const BATCH_MS = 100;
/** What a waiting pod waits for is told again at most this often. */
const TELL_AGAIN_MS = 20_000;

/** Places gated pods: plans them in one batch over fresh caches, then one PATCH for each. */
export const startPlacement = (options: PlacementControllerOptions, signal: AbortSignal): void => {
  const { deps, home, links, exclusions } = options;
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });
  /** Placed by this process, not yet seen so in the cache. */
  const assumed = new Map<string, Spot>();
  /** Pods that their peer has counted in what it says is free. */
  const counted = new Set<string>();
  /** When a waiting pod was last told why, monotonic. */
  const told = new Map<string, number>();
  const stranded = watchStranded(links, home, deps.clock, () => queue.add(KEY));
  const facts = openPlacementFacts(deps.informers, home, links);
  const known = new WeakMap<PodSpec, Amounts>();
  let lastAt = -Infinity;

  const requestsOf = ({ spec }: Pod): Amounts => {
    const found = known.get(spec) ?? podRequests(spec);
    known.set(spec, found);
    return found;
  };

  const peerOfNode = (node: string): string | undefined => home.virtualNodes.get(undefined, node)?.spec.peer;

  const spotOf = (pod: Pod): Spot | undefined => {
    const { nodeName } = pod.spec;
    if (nodeName) return { node: nodeName, place: peerOfNode(nodeName) ?? HOME_PLACE };
    const known = assumed.get(pod.metadata.uid ?? '');
    if (known !== undefined || isGated(pod)) return known;
    const record = placementRecordOf(pod);
    return record && { node: record.node, place: record.place };
  };

  const openPeers = (namespace: string): readonly string[] => {
    const offloading = home.offloadingOf(namespace);
    if (offloading === undefined || offloading.metadata.deletionTimestamp !== undefined) return [];
    return selectedPeers(offloading, home.peers.list())
      .filter((peer) => !peer.spec.cordoned && !peer.spec.paused)
      .map((peer) => peer.metadata.name)
      .filter((peer) => links.get(peer)?.follow(TWINS).get(namespace)?.ready === true);
  };

  /** `anew`: as if its volumes that were never made could still be made anywhere. */
  const toPlan = (pod: Pod, mode: ClaimsMode = 'placed'): Planned => {
    const namespace = pod.metadata.namespace ?? '';
    const offloading = home.offloadingOf(namespace);
    const isOpen = offloading !== undefined && offloading.metadata.deletionTimestamp === undefined;
    const peers = isOpen ? openPeers(namespace) : [];
    const claimOf = (name: string) => home.volumeClaims.get(namespace, name);
    const volumeOf = (name: string) => home.volumes.get(undefined, name);
    const data = placedVolumes(pod.spec, {
      claim: claimOf,
      volume: volumeOf,
      replicas: (claim) => facts.replicasOf(namespace, claim),
    }).filter(({ isMade }) => isMade || mode === 'placed');
    const away = peers.flatMap((peer): (readonly [string, string])[] => {
      const why = whyDataElsewhere(data, peer, namespace);
      return why === undefined ? [] : [[peer, why]];
    });
    const lookup: ClaimLookup = {
      claim: claimOf,
      volume: volumeOf,
      hasHomeClass: () => home.storageClasses.list().some(isDefaultClass),
      hasClass: (name) => home.storageClasses.get(undefined, name) !== undefined,
      now: () => deps.clock.now().getTime(),
    };
    const claims = judgeClaims(pod.spec, lookup, mode);
    const isBarred = away.length > 0 || claims.refused.size > 0;
    return {
      unmade: claims.unmade,
      uid: pod.metadata.uid ?? '',
      // Only the plan sees the selector: kube-scheduler knows it from the volumes themselves.
      spec: { ...pod.spec, nodeSelector: { ...pod.spec.nodeSelector, ...claims.nodeSelector } },
      requests: requestsOf(pod),
      group: groupOf(pod),
      strategy: isOpen ? offloading.spec.strategy : undefined,
      stays: claims.stays ?? whyNotFloatable(pod, claims.floating),
      notHome: claims.notHome,
      waits: claims.waits,
      openPeers: peers,
      excluded: isBarred ? new Map([...exclusions.of(pod), ...away, ...claims.refused]) : exclusions.of(pod),
      dataBytes: dataBytes(data, [HOME_PLACE, ...peers]),
    };
  };

  const atPeer = (pod: Pod, peer: string): PodAtPeer => {
    const uid = pod.metadata.uid ?? '';
    const said = links.get(peer)?.follow(SHADOW_STATUS).get(keyOf(pod));
    return {
      uid,
      spec: pod.spec,
      requests: requestsOf(pod),
      isStarted: pod.status?.['startTime'] !== undefined,
      isOver: said?.uid === uid && said.state !== 'accepted',
    };
  };

  const planNodes = (): readonly PlanNode[] => {
    const placed = home.pods
      .list()
      .filter(takesRoom)
      .flatMap((pod) => {
        const spot = spotOf(pod);
        return spot === undefined ? [] : [{ pod, ...spot }];
      });
    const used = usedByNode(placed.map(({ pod, node }) => ({ node, requests: requestsOf(pod) })));
    const byPlace = Map.groupBy(placed, (one) => one.place);
    const slotsAt = (node: string, peer: string) => {
      const virtualNode = home.virtualNodes.get(undefined, node);
      const fits = virtualNode && facts.fitsOf(virtualNode);
      if (fits === undefined) return undefined;
      return slotsLeft(
        fits,
        (byPlace.get(peer) ?? []).map(({ pod }) => atPeer(pod, peer)),
        counted,
      );
    };
    const none: Amounts = {};
    return home.nodes.list().flatMap((node): PlanNode[] => {
      const { name } = node.metadata;
      const peer = peerOfNode(name);
      if (isVirtual(node) && peer === undefined) return [];
      const free = subtract(allocatableOf(node), used.get(name) ?? none);
      return [{ node, peer, free, slots: peer === undefined ? undefined : slotsAt(name, peer) }];
    });
  };

  const place = async (pod: Pod, placement: Placement): Promise<void> => {
    const { name, namespace, uid = '' } = pod.metadata;
    const peers = [...new Set(home.virtualNodes.list().map((vn) => vn.spec.peer))];
    const patch = planPlacementPatch(pod, placement, peers, deps.clock.now().toISOString());
    if (patch === undefined) return waits(pod, placement);
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

  const waits = async (pod: Pod, placement: Placement): Promise<void> => {
    const { name, namespace, uid = '' } = pod.metadata;
    const message = explainNoFit(placement);
    const old = pod.status?.conditions?.find((c) => c.type === FLOAT_CONDITION);
    const now = deps.clock.monotonicMs();
    if (old?.status === 'False' && old.message === message) return;
    if (now - (told.get(uid) ?? -Infinity) < TELL_AGAIN_MS) return;
    told.set(uid, now);
    const annotations = {
      [ANNOTATIONS.placement]: JSON.stringify(waitingRecord(placement, deps.clock.now().toISOString())),
    };
    await client.patch(POD, name, namespace, { metadata: { uid, annotations } }, { type: 'merge', signal });
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

  const madeAgain = createPodsMadeAgain(
    { deps, home, exclusions, toPlan: (pod) => toPlan(pod, 'anew') },
    signal,
  );
  const unmade = openUnmadeVolumes(deps, home, signal);

  /** What fits for a pod at the gate; where nothing does, what would, if its volumes that were never made were elsewhere. */
  const decide = (
    pod: Pod,
    planner: Planner,
  ): { readonly placement: Placement; readonly homeless?: HomelessPod } => {
    const wanted = toPlan(pod);
    const placement = planner.place(wanted);
    if (placement.ranked.length > 0 || wanted.unmade.length === 0 || wanted.waits !== undefined)
      return { placement };
    const anew = planner.place(toPlan(pod, 'anew'));
    // Why nothing fits is then said without regard to where the volume would have been.
    if (anew.ranked.length === 0) return { placement: anew };
    return { placement, homeless: { pod, claims: wanted.unmade, ranked: anew.ranked } };
  };

  const forget = (): void => {
    const waiting = new Set(home.gatedPods().map((pod) => pod.metadata.uid));
    for (const uid of assumed.keys()) if (!waiting.has(uid)) assumed.delete(uid);
    for (const uid of told.keys()) if (!waiting.has(uid)) told.delete(uid);
    if (counted.size <= 2 * home.pods.list().length + 1000) return;
    const existing = new Set(home.pods.list().map((pod) => pod.metadata.uid));
    for (const uid of counted) if (!existing.has(uid)) counted.delete(uid);
  };

  const reconcile = async (): Promise<ReconcileResult> => {
    forget();
    await madeAgain.releaseLeftBehind();
    const gated = home
      .gatedPods()
      .filter((pod) => pod.metadata.deletionTimestamp === undefined && !assumed.has(pod.metadata.uid ?? ''))
      .toSorted(
        (a, b) =>
          (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
          (keyOf(a) < keyOf(b) ? -1 : 1),
      );
    const refused = unmade.refused();
    const withoutNode = stranded.list();
    if (gated.length === 0 && withoutNode.length === 0 && refused.length === 0) return {};
    const sinceLast = deps.clock.monotonicMs() - lastAt;
    if (sinceLast < BATCH_MS) return { requeueAfterMs: BATCH_MS - sinceLast };
    lastAt = deps.clock.monotonicMs();
    const moving = [...withoutNode, ...unmade.waiting(refused)];
    if (gated.length === 0 && moving.length === 0) return { requeueAfterMs: RETRY_MS };
    const alike = new Set([...gated, ...moving.map(({ pod }) => pod)].map(groupOf));
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
    const planner = createPlanner(planNodes(), counts, { policy: facts.policy(), facts: facts.facts() });
    let failure: unknown;
    const failed = (pod: Pod, err: unknown): void => {
      // Changed or gone meanwhile: the cache will say so, and the next pass sees it.
      if (isConflict(err) || isNotFound(err)) return;
      deps.log.warn('pod not placed', { controller: 'offloading.placement', key: keyOf(pod), err });
      failure = err;
    };
    const decisions = gated.map((pod) => ({ pod, ...decide(pod, planner) }));
    const homeless = decisions.flatMap((decision) => decision.homeless ?? []);
    const sent = decisions.filter(({ placement }) => placement.ranked.length > 0).map(({ pod }) => pod);
    // What these wait for is about to be another thing.
    const helped = homeless.length === 0 ? new Set<string>() : await unmade.want(homeless, sent);
    for (const { pod, placement } of decisions)
      if (!helped.has(pod.metadata.uid ?? ''))
        await place(pod, placement).catch((err: unknown) => failed(pod, err));
    await madeAgain.move(moving, planner);
    if (failure !== undefined) throw failure;
    return { requeueAfterMs: RETRY_MS };
  };

  links.onLink((link) => {
    link.follow(TWINS).onChange(() => queue.add(KEY));
    link.follow(FITS).onChange(() => queue.add(KEY));
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
        ...facts.sources(KEY),
        watchSource(home.volumeClaims, always),
        watchSource(home.volumes, always),
        watchSource(home.storageClasses, always),
      ],
      reads: facts.reads,
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
