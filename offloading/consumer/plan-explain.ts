import { atPlace, HOME_PLACE, placeText } from '../../api/places.ts';
import type { NamespaceOffloading } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { bytesText } from './plan-data.ts';
import { placementRecordOf, waitingRecordOf, type ScoreRecord } from './plan-placement-patch.ts';
import { TERMS, type Measures, type Term } from './plan-score.ts';

/** Why a pod is where it is, or nowhere. The data of `fluviactl explain pod`. */
export interface Explanation {
  /** `namespace/name`. */
  readonly pod: string;
  /**
   * `placed`: the leader chose; `waiting`: nothing fits; `undecided`: the leader hasn't looked yet; `home`: Fluvia leaves it
   * to home's scheduler.
   */
  readonly state: 'placed' | 'waiting' | 'undecided' | 'home';
  /** A sentence or two. */
  readonly summary: string;
  /** {@link HOME_PLACE} or a peer: where it is, else where it was sent. */
  readonly place?: string | undefined;
  readonly node?: string | undefined;
  readonly decidedAt?: string | undefined;
  /** Best first. */
  readonly candidates: readonly ExplainedCandidate[];
  readonly rejected: readonly { readonly place: string; readonly reason: string }[];
  readonly notes: readonly string[];
}

export interface ExplainedCandidate {
  readonly place: string;
  readonly isChosen: boolean;
  /** 0 … 100. */
  readonly score?: number | undefined;
  readonly terms: readonly ExplainedTerm[];
}

export interface ExplainedTerm {
  readonly term: Term;
  /** 0 (worst) … 1 (best). */
  readonly value: number;
  /** Undefined when it isn't known by which weights was ranked. */
  readonly weight: number | undefined;
  /** Of the score. */
  readonly points: number | undefined;
  readonly says: string;
}

export interface ExplainWorld {
  readonly pod: Pod;
  readonly isGated: boolean;
  readonly offloading: NamespaceOffloading | undefined;
  /** Peer of a virtual node; undefined for a real one. */
  readonly peerOfNode: (node: string) => string | undefined;
  /** Why it can't leave home; undefined when it can. */
  readonly stays: string | undefined;
  /** Why it can run nowhere yet, as far as its claims go; undefined when nothing is missing. */
  readonly waits?: string | undefined;
  /** Where each of its volumes is, and the copies of it, in words. */
  readonly volumes?: readonly string[] | undefined;
}

const SAYS: Readonly<Record<Term, (m: Measures, place: string) => string>> = {
  room: ({ room }) =>
    room < 1
      ? 'room for no second one like it on its node'
      : `room for ${Math.floor(room)} more like it on its node`,
  price: ({ price }) => (price === 0 ? 'free of charge' : `${Number(price.toPrecision(3))} an hour`),
  rtt: ({ rttMilliseconds }, place) => {
    if (place === HOME_PLACE) return 'here';
    return rttMilliseconds === undefined
      ? 'round trip not measured yet'
      : `${Number(rttMilliseconds.toPrecision(3))} ms round trip`;
  },
  data: ({ dataBytes }) => (dataBytes === 0 ? 'no data to move' : `${bytesText(dataBytes)} to move`),
  spread: ({ count }) => (count === 0 ? 'none alike there' : `${count} alike there already`),
};

const explainTerms = (
  place: string,
  record: ScoreRecord,
  weights: Readonly<Partial<Record<Term, number>>> | undefined,
): readonly ExplainedTerm[] => {
  const total = TERMS.reduce((sum, term) => sum + (weights?.[term] ?? 0), 0);
  return TERMS.flatMap((term): ExplainedTerm[] => {
    const value = record.terms?.[term];
    if (typeof value !== 'number' || record.measures === undefined) return [];
    const weight = weights?.[term];
    const points =
      weight === undefined || total === 0 ? undefined : Number(((100 * value * weight) / total).toFixed(1));
    return [{ term, value, weight, points, says: SAYS[term](record.measures, place) }];
  });
};

const rejectedOf = (rejected: Readonly<Record<string, string>>): Explanation['rejected'] =>
  Object.entries(rejected).map(([place, reason]) => ({ place, reason }));

const whyHome = ({ offloading, stays, pod }: ExplainWorld): string => {
  if (offloading === undefined || offloading.metadata.deletionTimestamp !== undefined) {
    return `namespace ${pod.metadata.namespace ?? ''} is not open to the fabric`;
  }
  if (stays !== undefined) return stays;
  if (offloading.spec.strategy === 'Local') return 'the strategy of its namespace is Local';
  return 'it was made before its namespace was opened, or while Fluvia had no leader; pods made now are placed';
};

/** Where a bound pod is, in words. */
const isThere = (pod: Pod, place: string): string => {
  const verb = pod.status?.phase === 'Pending' ? 'has not started yet' : 'runs';
  return `${verb} ${atPlace(place)}, node ${pod.spec.nodeName ?? ''}`;
};

const empty = { candidates: [], rejected: [], notes: [] } as const;

const explainPlaced = (
  world: ExplainWorld,
  id: string,
  record: NonNullable<ReturnType<typeof placementRecordOf>>,
): Explanation => {
  const { pod, peerOfNode, stays } = world;
  const { nodeName } = pod.spec;
  const actual = nodeName ? (peerOfNode(nodeName) ?? HOME_PLACE) : undefined;
  const candidates = [...new Set([...record.candidates, ...Object.keys(record.scores ?? {})])].map(
    (place): ExplainedCandidate => {
      const scored = record.scores?.[place];
      return {
        place,
        isChosen: place === (actual ?? record.place),
        score: scored?.score,
        terms: scored === undefined ? [] : explainTerms(place, scored, record.weights),
      };
    },
  );
  const unscheduled = pod.status?.conditions?.find((c) => c.type === 'PodScheduled' && c.status === 'False');
  const notes = [
    ...(actual !== undefined && actual !== record.place
      ? [
          `Fluvia put ${placeText(record.place)} first; kube-scheduler, which has the last word, chose ${placeText(actual)} among the candidates`,
        ]
      : []),
    ...(actual === undefined && unscheduled?.message ? [`kube-scheduler: ${unscheduled.message}`] : []),
    ...(stays === undefined ? [] : [`it can't leave home: ${stays}`]),
    ...(actual === undefined && world.waits !== undefined ? [world.waits] : []),
    ...(world.volumes ?? []),
  ];
  const others = candidates.length - 1;
  const among = others > 0 ? `the best of ${candidates.length} places that fit` : 'the only place that fits';
  return {
    pod: id,
    state: 'placed',
    summary:
      actual === undefined
        ? `sent to ${placeText(record.place)} (${among}); kube-scheduler has not bound it yet`
        : `${isThere(pod, actual)}${actual === record.place ? `: ${among}` : ''}`,
    place: actual ?? record.place,
    node: nodeName ?? record.node,
    decidedAt: record.at,
    candidates,
    rejected: rejectedOf(record.rejected),
    notes,
  };
};

/** Explains a pod from what stands on it and around it. */
export const planExplanation = (world: ExplainWorld): Explanation => {
  const { pod, isGated, stays } = world;
  const id = `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`;
  const record = placementRecordOf(pod);
  if (record !== undefined) return explainPlaced(world, id, record);
  if (!isGated) {
    const { nodeName } = pod.spec;
    const where = nodeName ? isThere(pod, HOME_PLACE) : "waits for home's scheduler";
    return {
      ...empty,
      pod: id,
      state: 'home',
      summary: `${where}: ${whyHome(world)}`,
      place: HOME_PLACE,
      node: nodeName,
    };
  }
  const waiting = waitingRecordOf(pod);
  const notes = [...(stays === undefined ? [] : [`it can't leave home: ${stays}`]), ...(world.volumes ?? [])];
  return waiting === undefined
    ? {
        ...empty,
        pod: id,
        state: 'undecided',
        summary: "waits at Fluvia's gate: the leader has not looked at it yet",
        notes,
      }
    : {
        ...empty,
        pod: id,
        state: 'waiting',
        summary:
          world.waits === undefined
            ? 'fits nowhere; it goes as soon as something fits'
            : `waits for its volume: ${world.waits}; it goes as soon as that is over`,
        decidedAt: waiting.at,
        // While its volume can be had nowhere, each place would say the same.
        rejected: world.waits === undefined ? rejectedOf(waiting.rejected) : [],
        notes,
      };
};
