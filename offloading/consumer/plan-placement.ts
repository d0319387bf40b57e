import { addResources } from '../../api/quantity.ts';
import type { OffloadingStrategy } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Node, PodSpec } from '../../runtime/kube/types.ts';
import { subtract, whatIsMissing, whyNotThere, type Amounts } from './plan-fit.ts';

/** `home`, or the name of a peer: where a pod may be. */
export type PlaceName = string;
/** Name of the place that is this cluster; no Peer can be called so, since it isn't a DNS label. */
export const HOME_PLACE = '@home';

/** A node as the plan sees it: a real one of home or a virtual one. */
export interface PlanNode {
  readonly node: Node;
  /** Peer of a virtual node; undefined at home. */
  readonly peer: string | undefined;
  /** Allocatable minus what bound and just placed pods request. */
  readonly free: Amounts;
}

/** A pod that waits at the gate. */
export interface GatedPod {
  readonly uid: string;
  readonly spec: PodSpec;
  readonly requests: Amounts;
  /** Pods with the same group are spread evenly: UID of the controlling owner. */
  readonly group: string;
  /** Undefined: the namespace isn't opened (any more). */
  readonly strategy: OffloadingStrategy | undefined;
  /** Why it can't leave home; undefined when it can. */
  readonly stays: string | undefined;
  /** Why it can't run at home (its data is at a peer); undefined when it can. */
  readonly notHome?: string | undefined;
  /** Why it can run nowhere yet (a claim is missing, its volume moves); undefined when nothing is missing. */
  readonly waits?: string | undefined;
  /** Peers where the namespace's twin is ready. */
  readonly openPeers: readonly string[];
  /** Peers that refused it lately, and why. */
  readonly excluded: ReadonlyMap<string, string>;
}

/** A place that was considered for one pod. */
export interface Considered {
  readonly place: PlaceName;
  /** Best node there when it fits. */
  readonly node: string | undefined;
  /** Why not; undefined when it fits. */
  readonly reason: string | undefined;
  /** Pods of the same group there already. */
  readonly count: number;
}

/** The decision for one pod. */
export interface Placement {
  readonly uid: string;
  /** Best first; empty when nothing fits. */
  readonly ranked: readonly (Considered & { readonly node: string })[];
  readonly rejected: readonly Considered[];
}

/** Ranks the places that fit for one pod, best first. The policy of a planner; must not depend on the order given. */
export type RankPlaces = (pod: GatedPod, fitting: readonly Considered[]) => readonly Considered[];

/** The first policy: evenly over places, home first among equals, then by name. */
export const rankEvenly: RankPlaces = (_pod, fitting) =>
  fitting.toSorted(
    (a, b) =>
      a.count - b.count ||
      Number(b.place === HOME_PLACE) - Number(a.place === HOME_PLACE) ||
      (a.place < b.place ? -1 : a.place > b.place ? 1 : 0),
  );

const MAX_RANKED = 8;

const placeOf = (node: PlanNode): PlaceName => node.peer ?? HOME_PLACE;

/** Why the pod may not go to this place whatever the room; undefined when it may. */
const whyNotPlace = (pod: GatedPod, place: PlaceName): string | undefined => {
  if (pod.waits !== undefined) return pod.waits;
  if (place === HOME_PLACE && pod.notHome !== undefined) return pod.notHome;
  if (place === HOME_PLACE) {
    return pod.strategy === 'Remote' ? 'the strategy of its namespace is Remote' : undefined;
  }
  if (pod.strategy === undefined) return 'its namespace is not open';
  if (pod.strategy === 'Local') return 'the strategy of its namespace is Local';
  if (pod.stays !== undefined) return pod.stays;
  if (!pod.openPeers.includes(place)) return 'its namespace is not ready there';
  return pod.excluded.get(place);
};

const roomiest = (nodes: readonly PlanNode[]): PlanNode | undefined =>
  nodes.toSorted(
    (a, b) =>
      (b.free['cpu'] ?? 0) - (a.free['cpu'] ?? 0) || (a.node.metadata.name < b.node.metadata.name ? -1 : 1),
  )[0];

const consider = (pod: GatedPod, place: PlaceName, nodes: readonly PlanNode[], count: number): Considered => {
  const no = (reason: string): Considered => ({ place, node: undefined, reason, count });
  const barred = whyNotPlace(pod, place);
  if (barred !== undefined) return no(barred);
  const reasons = new Set<string>();
  const fitting = nodes.filter(({ node, free }) => {
    const reason = whyNotThere(pod.spec, node) ?? whatIsMissing(free, pod.requests);
    if (reason !== undefined) reasons.add(reason);
    return reason === undefined;
  });
  const best = roomiest(fitting);
  if (best === undefined) return no([...reasons].join('; ') || 'it has no nodes');
  return { place, node: best.node.metadata.name, reason: undefined, count };
};

/** The planner's own ledger of one batch: what was just placed counts at once. */
interface Ledger {
  readonly free: Map<string, Amounts>;
  readonly counts: Map<string, number>;
}

const countKey = (group: string, place: PlaceName): string => `${group}\n${place}`;

/**
 * Plans a batch in the order given. `counts` has, by group and place, the pods that are there already (see
 * {@link groupCounts}). Deterministic; never plans more onto a node than its free room.
 */
export const planPlacements = (
  pods: readonly GatedPod[],
  nodes: readonly PlanNode[],
  counts: ReadonlyMap<string, number>,
  rank: RankPlaces = rankEvenly,
): readonly Placement[] => {
  const ledger: Ledger = {
    free: new Map(nodes.map(({ node, free }) => [node.metadata.name, free])),
    counts: new Map(counts),
  };
  const places = Map.groupBy(nodes, placeOf);
  if (!places.has(HOME_PLACE)) places.set(HOME_PLACE, []);
  return pods.map((pod) => {
    const considered = [...places].map(([place, members]) =>
      consider(
        pod,
        place,
        members.map((member) => ({ ...member, free: ledger.free.get(member.node.metadata.name) ?? {} })),
        ledger.counts.get(countKey(pod.group, place)) ?? 0,
      ),
    );
    const ranked = rank(
      pod,
      considered.filter((c) => c.node !== undefined),
    ).filter((c): c is Considered & { node: string } => c.node !== undefined);
    const best = ranked[0];
    if (best !== undefined) {
      ledger.free.set(best.node, subtract(ledger.free.get(best.node) ?? {}, pod.requests));
      const key = countKey(pod.group, best.place);
      ledger.counts.set(key, (ledger.counts.get(key) ?? 0) + 1);
    }
    return {
      uid: pod.uid,
      ranked: ranked.slice(0, MAX_RANKED),
      rejected: considered.filter((c) => c.node === undefined),
    };
  });
};

/** Counts of pods by group and place, as {@link planPlacements} wants them. */
export const groupCounts = (
  placed: readonly { readonly group: string; readonly place: PlaceName }[],
): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const { group, place } of placed) {
    const key = countKey(group, place);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
};

/** Sums what pods request, by the node that they are on. */
export const usedByNode = (
  pods: readonly { readonly node: string; readonly requests: Amounts }[],
): ReadonlyMap<string, Amounts> => {
  const used = new Map<string, Amounts>();
  for (const { node, requests } of pods) used.set(node, addResources(used.get(node) ?? {}, requests));
  return used;
};
