import { HOME_PLACE } from '../../api/places.ts';
import { SHADOW_STATUS, TWINS } from '../../api/collections.ts';
import { FITS } from '../../api/fits-collection.ts';
import { ANNOTATIONS } from '../../api/labels.ts';
import type { Links } from '../../api/link.ts';
import { controllerOf } from '../../api/owners.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isDefaultClass } from '../../runtime/kube/storage-types.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Pod, type PodSpec } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { groupOf, NO_NODE, type Exclusions } from './exclusions.ts';
import { isGated, isVirtual, selectedPeers, type Home } from './home.ts';
import { allocatableOf, podRequests, subtract, takesRoom, type Amounts } from './plan-fit.ts';
import { judgeClaims, type ClaimLookup, type ClaimsMode, type UnmadeClaim } from './plan-claims.ts';
import { dataBytes, placedVolumes, whyDataElsewhere } from './plan-data.ts';
import { whyNotFloatable } from './plan-floatable.ts';
import { whyLeftBehind } from './plan-left-behind.ts';
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
import { watchStranded, type StrandedPod } from './stranded-pods.ts';
import { slotsLeft, type PodAtPeer } from './plan-uncounted.ts';
import { podsWithoutVolume, wantVolumesAt } from './unmade-volumes.ts';

export interface PlacementControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly exclusions: Exclusions;
}

/** A pod as the planner sees it, and its volumes that were never made. */
interface Planned extends GatedPod {
  readonly unmade: readonly UnmadeClaim[];
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
/** So many pods are moved in one pass. */
const MOVE_AT_ONCE = 16;

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

  /** Has a pod made again that its peer can't run after all, if it fits elsewhere; a bare pod is never moved. */
  const move = async ({ pod, peer, reason, message }: StrandedPod, planner: Planner): Promise<void> => {
    const wanted = toPlan(pod, 'anew');
    // Its own affinity was narrowed to the candidates of then: the next one's isn't.
    const spec = { ...wanted.spec, affinity: undefined };
    const excluded = new Map([...wanted.excluded, [peer, message]]);
    const best = planner.place({ ...wanted, spec, excluded }).ranked[0];
    if (best === undefined) return;
    const isWithoutNode = reason === NO_NODE;
    // Of a volume that can't be made the volume itself says it, to every pod that wants it.
    if (isWithoutNode) exclusions.exclude(pod, peer, reason, message);
    const what = isWithoutNode ? 'accepted it and then had no node for it' : "can't make a volume of it";
    deps.events.record(pod, {
      type: 'Warning',
      reason,
      note: `peer ${peer} ${what}: ${message}; made again elsewhere`,
    });
    const { name, namespace, uid } = pod.metadata;
    await client.delete(POD, name, namespace, { uid, signal }).catch((error: unknown) => {
      if (!isConflict(error) && !isNotFound(error)) throw error;
    });
  };

  /** What fits for a pod at the gate; where nothing does, volumes of it that were never made may be wanted elsewhere. */
  const decide = async (pod: Pod, planner: Planner): Promise<Placement | undefined> => {
    const wanted = toPlan(pod);
    const placement = planner.place(wanted);
    if (placement.ranked.length > 0 || wanted.unmade.length === 0 || wanted.waits !== undefined)
      return placement;
    const anew = planner.place(toPlan(pod, 'anew'));
    const best = anew.ranked[0];
    // Why nothing fits is then said without regard to where the volume would have been.
    if (best === undefined) return anew;
    const isNews = await wantVolumesAt(deps, home, pod, wanted.unmade, best.node, signal);
    return isNews ? undefined : placement;
  };

  /** Has a pod made again whose volume went elsewhere before it was bound; a bare pod is never moved. */
  const releaseLeftBehind = async (): Promise<void> => {
    for (const pod of home.pods.list()) {
      const { name, namespace = '', uid, deletionTimestamp } = pod.metadata;
      if (pod.spec.nodeName || isGated(pod) || deletionTimestamp !== undefined) continue;
      const why = whyLeftBehind(pod, {
        claim: (claim) => home.volumeClaims.get(namespace, claim),
        volume: (volume) => home.volumes.get(undefined, volume),
      });
      if (why === undefined || controllerOf(pod) === undefined) continue;
      deps.events.record(pod, {
        type: 'Normal',
        reason: 'VolumeElsewhere',
        note: `${why}; made again there`,
      });
      await client.delete(POD, name, namespace, { uid, signal }).catch((error: unknown) => {
        if (!isConflict(error) && !isNotFound(error)) throw error;
      });
    }
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
    await releaseLeftBehind();
    const gated = home
      .gatedPods()
      .filter((pod) => pod.metadata.deletionTimestamp === undefined && !assumed.has(pod.metadata.uid ?? ''))
      .toSorted(
        (a, b) =>
          (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
          (keyOf(a) < keyOf(b) ? -1 : 1),
      );
    const now = deps.clock.now().getTime();
    const moving = [...stranded.list(), ...podsWithoutVolume(home, now)].slice(0, MOVE_AT_ONCE);
    if (gated.length === 0 && moving.length === 0) return {};
    const sinceLast = deps.clock.monotonicMs() - lastAt;
    if (sinceLast < BATCH_MS) return { requeueAfterMs: BATCH_MS - sinceLast };
    lastAt = deps.clock.monotonicMs();
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
    const failed = (pod: Pod, err: unknown): undefined => {
      // Changed or gone meanwhile: the cache will say so, and the next pass sees it.
      if (isConflict(err) || isNotFound(err)) return;
      deps.log.warn('pod not placed', { controller: 'offloading.placement', key: keyOf(pod), err });
      failure = err;
    };
    const placements: (readonly [Pod, Placement])[] = [];
    for (const pod of gated) {
      const placement = await decide(pod, planner).catch((err: unknown) => failed(pod, err));
      if (placement !== undefined) placements.push([pod, placement]);
    }
    for (const [pod, placement] of placements)
      await place(pod, placement).catch((err: unknown) => failed(pod, err));
    for (const one of moving) await move(one, planner);
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
