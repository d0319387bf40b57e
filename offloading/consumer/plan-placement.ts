import { HOME_PLACE } from '../../api/places.ts';
import { addResources } from '../../api/quantity.ts';
import type { OffloadingStrategy } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Node, PodSpec } from '../../runtime/kube/types.ts';
import { whyClosed, whyNotFor, type Amounts } from './plan-fit.ts';
import {
  createScoreSheet,
  pricedUnits,
  priceOf,
  rankPolicyOf,
  type Measures,
  type PlaceFacts,
  type RankPolicy,
  type Terms,
  type Weights,
} from './plan-score.ts';
import {
  chooseSlot,
  describeMissing,
  isWithin,
  roominess,
  takeSlot,
  wantsOf,
  without,
  type Slot,
  type Wants,
} from './plan-slots.ts';

/** {@link HOME_PLACE}, or the name of a peer: where a pod may be. */
export type PlaceName = string;

/** A node as the plan sees it: a real one of home or a virtual one. */
export interface PlanNode {
  readonly node: Node;
  /** Peer of a virtual node; undefined at home. */
  readonly peer: string | undefined;
  /** Allocatable minus what bound and just placed pods request. */
  readonly free: Amounts;
  /** Room of the real nodes behind a virtual one, as the peer told it; undefined when it has told nothing. */
  readonly slots?: readonly Slot[] | undefined;
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
  /** Bytes of its volumes that would have to move, by place; nothing has to where none is given. */
  readonly dataBytes?: ReadonlyMap<PlaceName, number> | undefined;
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

/** A place that fits, with what speaks for it. */
export interface Ranked extends Considered {
  readonly node: string;
  /** 0 … 100. */
  readonly score: number;
  readonly terms: Terms;
  readonly measures: Measures;
}

/** The decision for one pod. */
export interface Placement {
  readonly uid: string;
  /** Best first; empty when nothing fits. */
  readonly ranked: readonly Ranked[];
  readonly rejected: readonly Considered[];
  /** By which it was ranked. */
  readonly weights: Weights;
}

/** What ranking needs to know besides nodes and pods. */
export interface PlanOptions {
  readonly policy?: RankPolicy | undefined;
  readonly facts?: ReadonlyMap<PlaceName, PlaceFacts> | undefined;
}

/** Why the pod may not go to this place whatever the room; undefined when it may. */
const whyNotPlace = (pod: GatedPod, open: ReadonlySet<string>, place: PlaceName): string | undefined => {
  if (pod.waits !== undefined) return pod.waits;
  if (place === HOME_PLACE && pod.notHome !== undefined) return pod.notHome;
  if (place === HOME_PLACE) {
    return pod.strategy === 'Remote' ? 'the strategy of its namespace is Remote' : undefined;
  }
  if (pod.strategy === undefined) return 'its namespace is not open';
  if (pod.strategy === 'Local') return 'the strategy of its namespace is Local';
  if (pod.stays !== undefined) return pod.stays;
  if (!open.has(place)) return 'its namespace is not ready there';
  return pod.excluded.get(place);
};

/** The planner's own account of one node: what was just placed counts at once. */
interface Entry {
  readonly node: Node;
  readonly name: string;
  readonly place: PlaceName;
  /** Why it takes no pod at all; asked once, not for each pod. */
  readonly closed: string | undefined;
  free: Amounts;
  slots: readonly Slot[] | undefined;
}

/** Room of the node with the pod on it; -1 when it doesn't take it. */
const roomAt = (pod: GatedPod, wants: Wants, { node, closed, free, slots }: Entry): number => {
  if (closed !== undefined || !isWithin(free, wants) || whyNotFor(pod.spec, node) !== undefined) return -1;
  const room = roominess(free, wants);
  if (slots === undefined) return room;
  const slot = slots[chooseSlot(slots, pod.spec, wants)];
  return slot === undefined ? -1 : Math.min(room, roominess(slot.free, wants));
};

/** Why no node there takes the pod. */
const whyNoFit = (pod: GatedPod, wants: Wants, entries: readonly Entry[]): string => {
  const reasons = new Set<string>();
  const real: Amounts[] = [];
  for (const { node, closed, place, free, slots } of entries) {
    const reason = closed ?? whyNotFor(pod.spec, node);
    if (reason !== undefined) reasons.add(reason);
    else if (place === HOME_PLACE) real.push(free);
    else if (!isWithin(free, wants)) reasons.add(describeMissing([free], wants, 'what is left of the grant'));
    else real.push(...(slots ?? []).map((slot) => slot.free));
  }
  const isListed = entries.some(({ slots }) => slots !== undefined);
  if (real.length > 0) reasons.add(describeMissing(real, wants));
  else if (isListed && reasons.size === 0) reasons.add('none of its nodes has room');
  return [...reasons].join('; ') || 'it has no nodes';
};

interface Place {
  readonly place: PlaceName;
  readonly entries: readonly Entry[];
  readonly facts: PlaceFacts | undefined;
}

/** Names before which home comes. */
const before = (a: PlaceName, b: PlaceName): number =>
  Number(b === HOME_PLACE) - Number(a === HOME_PLACE) || (a < b ? -1 : a > b ? 1 : 0);

const countKey = (group: string, place: PlaceName): string => `${group}\n${place}`;

/** Plans pods one after the other; each counts at once for those after it. */
export interface Planner {
  /** Ranks the places of a pod and changes nothing. */
  rank(pod: GatedPod): Placement;
  /** Ranks, and takes the room at the best place. */
  place(pod: GatedPod): Placement;
}

/** Makes a planner of what is free now; the arguments are those of {@link planPlacements}. */
export const createPlanner = (
  nodes: readonly PlanNode[],
  counts: ReadonlyMap<string, number>,
  options: PlanOptions = {},
): Planner => {
  const policy = options.policy ?? rankPolicyOf(undefined);
  /** Group → place → pods. */
  const groups = new Map<string, Map<PlaceName, number>>();
  for (const [key, count] of counts) {
    const cut = key.lastIndexOf('\n');
    const group = key.slice(0, cut);
    const byPlace = groups.get(group) ?? new Map<PlaceName, number>();
    groups.set(group, byPlace.set(key.slice(cut + 1), count));
  }
  const places = Map.groupBy(
    nodes.map(({ node, peer, free, slots }): Entry => ({
      node,
      name: node.metadata.name,
      place: peer ?? HOME_PLACE,
      closed: whyClosed(node),
      free,
      slots,
    })),
    ({ place }) => place,
  );
  if (!places.has(HOME_PLACE)) places.set(HOME_PLACE, []);
  const all = [...places]
    .toSorted(([a], [b]) => before(a, b))
    .map(([place, entries]): Place => ({
      place,
      entries,
      facts: options.facts?.get(place),
    }));
  const sheet = createScoreSheet(all.length);
  let openList: readonly string[] = [];
  let open: ReadonlySet<string> = new Set();

  const rankPod = (pod: GatedPod, wants: Wants): Placement => {
    if (pod.openPeers !== openList) {
      openList = pod.openPeers;
      open = new Set(openList);
    }
    const units = pricedUnits(wants);
    const alike = groups.get(pod.group);
    const rejected: Considered[] = [];
    /** By line of the sheet. */
    const fitting: Entry[] = [];
    sheet.clear();
    for (const { place, entries, facts } of all) {
      const count = alike?.get(place) ?? 0;
      const barred = whyNotPlace(pod, open, place);
      let chosen: Entry | undefined;
      let room = -1;
      for (const entry of barred === undefined ? entries : []) {
        const here = roomAt(pod, wants, entry);
        if (here < 0 || here < room || (here === room && chosen !== undefined && chosen.name < entry.name))
          continue;
        room = here;
        chosen = entry;
      }
      if (chosen === undefined) {
        rejected.push({ place, node: undefined, reason: barred ?? whyNoFit(pod, wants, entries), count });
        continue;
      }
      fitting.push(chosen);
      sheet.add(
        room,
        priceOf(units, facts?.pricePerHour),
        place === HOME_PLACE ? 0 : facts?.rttMilliseconds,
        pod.dataBytes?.get(place) ?? 0,
        count,
      );
    }
    // In the order of the places: among equals the first is the better one.
    const ranked = sheet.best(policy).flatMap(({ line, ...scored }): Ranked[] => {
      const at = fitting[line];
      if (at === undefined) return [];
      const { place, name } = at;
      return [{ place, node: name, reason: undefined, count: scored.measures.count, ...scored }];
    });
    return { uid: pod.uid, ranked, rejected, weights: policy.weights };
  };

  const take = (pod: GatedPod, wants: Wants, { place, node }: Ranked): void => {
    const byPlace = groups.get(pod.group) ?? new Map<PlaceName, number>();
    groups.set(pod.group, byPlace.set(place, (byPlace.get(place) ?? 0) + 1));
    for (const entry of places.get(place) ?? []) {
      if (entry.name === node) entry.free = without(entry.free, wants);
      // Several grants of one peer are told the same real nodes.
      if (entry.slots !== undefined) entry.slots = takeSlot(entry.slots, pod.spec, wants);
    }
  };

  return {
    rank: (pod) => rankPod(pod, wantsOf(pod.requests)),
    place: (pod) => {
      const wants = wantsOf(pod.requests);
      const placement = rankPod(pod, wants);
      const best = placement.ranked[0];
      if (best !== undefined) take(pod, wants, best);
      return placement;
    },
  };
};

/**
 * Plans a batch in the order given. `counts` has, by group and place, the pods that are there already (see
 * {@link groupCounts}). Deterministic; never plans more onto a node, or a real node behind it, than its free room.
 */
export const planPlacements = (
  pods: readonly GatedPod[],
  nodes: readonly PlanNode[],
  counts: ReadonlyMap<string, number>,
  options: PlanOptions = {},
): readonly Placement[] => {
  const planner = createPlanner(nodes, counts, options);
  return pods.map((pod) => planner.place(pod));
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
