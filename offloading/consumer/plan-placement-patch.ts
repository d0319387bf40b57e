import { HOME_PLACE, placeText } from '../../api/places.ts';
import { ANNOTATIONS, FLOAT_GATE, LABELS } from '../../api/labels.ts';
import type {
  NodeSelectorRequirement,
  NodeSelectorTerm,
  Pod,
  PodSpec,
  Toleration,
} from '../../runtime/kube/types.ts';
import { type Considered, type Placement, type Ranked } from './plan-placement.ts';
import type { Measures, Terms, Weights } from './plan-score.ts';

/** What spoke for a candidate when the leader decided. */
export interface ScoreRecord {
  readonly score: number;
  readonly terms: Terms;
  readonly measures: Measures;
}

/** What stands in the placement annotation: for the controller after a restart and for `explain`. */
export interface PlacementRecord {
  /** When it was decided, RFC 3339. */
  readonly at?: string | undefined;
  /** {@link HOME_PLACE} or the peer's name, as everywhere below. */
  readonly place: string;
  readonly node: string;
  /** Places in order, and why others were left out. */
  readonly candidates: readonly string[];
  readonly rejected: Readonly<Record<string, string>>;
  /** Of each candidate. */
  readonly scores?: Readonly<Record<string, ScoreRecord>> | undefined;
  readonly weights?: Weights | undefined;
  /** The pod's own limits of its not-ready and unreachable tolerations, to be restored if it lands at home. */
  readonly evictAfterSeconds?: Readonly<Record<string, number>>;
}

/** Tolerations that let only Fluvia evict floated pods. */
const EVICTION_TAINTS = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'] as const;

/**
 * The requirement that narrows a pod's nodes to the candidates: peers only, home only, or both. Undefined when every
 * place is a candidate. `others`: peers that are not.
 */
export const placeRequirement = (
  candidates: readonly string[],
  others: readonly string[],
): NodeSelectorRequirement | undefined => {
  const peers = candidates.filter((place) => place !== HOME_PLACE).toSorted();
  if (!candidates.includes(HOME_PLACE)) return { key: LABELS.peer, operator: 'In', values: peers };
  if (peers.length === 0) return { key: LABELS.peer, operator: 'DoesNotExist' };
  return others.length === 0 ? undefined : { key: LABELS.peer, operator: 'NotIn', values: others.toSorted() };
};

const isEmpty = (term: NodeSelectorTerm): boolean =>
  (term.matchExpressions ?? []).length === 0 && (term.matchFields ?? []).length === 0;

/**
 * Required terms with the requirement in each of them: a gated pod's affinity may only be tightened, and terms can't be
 * added where there are some. An empty term matches nothing and stays so.
 */
export const narrowTerms = (
  terms: readonly NodeSelectorTerm[] | undefined,
  requirement: NodeSelectorRequirement,
): readonly NodeSelectorTerm[] =>
  terms === undefined || terms.length === 0
    ? [{ matchExpressions: [requirement] }]
    : terms.map((term) =>
        isEmpty(term) ? term : { ...term, matchExpressions: [...(term.matchExpressions ?? []), requirement] },
      );

const limitsOf = (spec: PodSpec): Record<string, number> =>
  Object.fromEntries(
    (spec.tolerations ?? [])
      .filter((t) => EVICTION_TAINTS.some((key) => key === t.key) && t.tolerationSeconds !== undefined)
      .map((t) => [t.key ?? '', t.tolerationSeconds ?? 0]),
  );

/** The pod's tolerations with not-ready and unreachable ones without limit. Existing ones keep all else. */
export const unlimited = (tolerations: readonly Toleration[] | undefined): readonly Toleration[] => {
  const kept = (tolerations ?? []).map((t) => {
    if (!EVICTION_TAINTS.some((key) => key === t.key)) return t;
    const { tolerationSeconds: _limit, ...rest } = t;
    return rest;
  });
  const missing = EVICTION_TAINTS.filter(
    (key) =>
      !kept.some(
        (t) => t.key === key && t.operator === 'Exists' && ['', 'NoExecute'].includes(t.effect ?? ''),
      ),
  );
  return [...kept, ...missing.map((key) => ({ key, operator: 'Exists', effect: 'NoExecute' }))];
};

/** The tolerations with the pod's own limits again, for one that landed at home; undefined when nothing changes. */
export const limitedAgain = (
  spec: PodSpec,
  limits: Readonly<Record<string, number>>,
): readonly Toleration[] | undefined => {
  let isChanged = false;
  const tolerations = (spec.tolerations ?? []).map((t) => {
    const seconds = limits[t.key ?? ''];
    if (seconds === undefined || t.tolerationSeconds !== undefined || t.effect !== 'NoExecute') return t;
    isChanged = true;
    return { ...t, tolerationSeconds: seconds };
  });
  return isChanged ? tolerations : undefined;
};

const preferred = (ranked: Placement['ranked']) =>
  ranked.map(({ place }, index) => ({
    weight: Math.max(1, 100 - index * 12),
    preference: {
      matchExpressions: [
        place === HOME_PLACE
          ? { key: LABELS.peer, operator: 'DoesNotExist' }
          : { key: LABELS.peer, operator: 'In', values: [place] },
      ],
    },
  }));

/** The annotation stays small whatever the number of peers. */
const MAX_REJECTED = 16;
const MAX_REASON = 200;

const reasons = (rejected: readonly Considered[]): Record<string, string> =>
  Object.fromEntries(
    rejected.slice(0, MAX_REJECTED).map(({ place, reason }) => [place, (reason ?? '').slice(0, MAX_REASON)]),
  );

const rounded = <T extends object>(values: T): T =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      typeof value === 'number' ? Number(value.toPrecision(4)) : value,
    ]),
  ) as T;

const scoresOf = (ranked: readonly Ranked[]): Record<string, ScoreRecord> =>
  Object.fromEntries(
    ranked.map(({ place, score, terms, measures }) => [
      place,
      { score: Number(score.toFixed(1)), terms: rounded(terms), measures: rounded(measures) },
    ]),
  );

/** What stands in the placement annotation of a pod that fits nowhere. */
export interface WaitingRecord {
  readonly at: string;
  readonly rejected: Readonly<Record<string, string>>;
}

/** The record of a pod that stays gated. */
export const waitingRecord = (placement: Placement, at: string): WaitingRecord => ({
  at,
  rejected: reasons(placement.rejected),
});

/** The two writes that place a pod. */
export interface PlacementPatch {
  /** Set first where the rank must hold: the scheduler takes a feasible nominated node without scoring. */
  readonly nominatedNodeName: string | undefined;
  /** Merge patch of the pod: narrows, weighs, makes tolerations unlimited and takes the gate off, at once. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly record: PlacementRecord;
}

/**
 * How to place `pod` as ranked. Home chosen: home only. A peer chosen: all fitting places stay candidates behind it, so
 * that kube-scheduler keeps the last word. `allPeers`: every peer with virtual nodes. Undefined when nothing fits.
 */
export const planPlacementPatch = (
  pod: Pick<Pod, 'spec'>,
  placement: Placement,
  allPeers: readonly string[],
  at?: string,
): PlacementPatch | undefined => {
  const best = placement.ranked[0];
  if (best === undefined) return undefined;
  const atHome = best.place === HOME_PLACE;
  const ranked = atHome ? [best] : placement.ranked;
  const candidates = ranked.map((c) => c.place);
  const requirement = placeRequirement(
    candidates,
    allPeers.filter((peer) => !candidates.includes(peer)),
  );
  const affinity = pod.spec.affinity?.nodeAffinity;
  const terms = affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  const limits = limitsOf(pod.spec);
  const record: PlacementRecord = {
    ...(at === undefined ? {} : { at }),
    place: best.place,
    node: best.node,
    candidates: candidates,
    rejected: reasons(placement.rejected),
    scores: scoresOf(placement.ranked),
    weights: placement.weights,
    ...(atHome || Object.keys(limits).length === 0 ? {} : { evictAfterSeconds: limits }),
  };
  const nodeAffinity = {
    ...(requirement === undefined
      ? {}
      : {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: narrowTerms(terms, requirement),
          },
        }),
    ...(atHome
      ? {}
      : {
          preferredDuringSchedulingIgnoredDuringExecution: [
            ...(affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []),
            ...preferred(ranked),
          ],
        }),
  };
  return {
    nominatedNodeName: atHome ? undefined : best.node,
    record,
    body: {
      metadata: { annotations: { [ANNOTATIONS.placement]: JSON.stringify(record) } },
      spec: {
        schedulingGates: (pod.spec.schedulingGates ?? []).filter((gate) => gate.name !== FLOAT_GATE),
        affinity: { nodeAffinity },
        ...(atHome ? {} : { tolerations: unlimited(pod.spec.tolerations) }),
      },
    },
  };
};

/** What is missing where, for the event of a pod that fits nowhere. */
export const explainNoFit = (placement: Placement): string =>
  placement.rejected
    .map(({ place, reason }) => `${placeText(place)}: ${reason ?? ''}`)
    .join('; ')
    .slice(0, 1000);

const parsed = (pod: Pick<Pod, 'metadata'>): Partial<PlacementRecord & WaitingRecord> | undefined => {
  const text = pod.metadata.annotations?.[ANNOTATIONS.placement];
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as unknown;
    return typeof record === 'object' && record !== null ? record : undefined;
  } catch {
    return undefined;
  }
};

/** The record on a placed pod; undefined when there is none or it isn't readable. */
export const placementRecordOf = (pod: Pick<Pod, 'metadata'>): PlacementRecord | undefined => {
  const record = parsed(pod);
  return typeof record?.place === 'string' && typeof record.node === 'string'
    ? { candidates: [], rejected: {}, ...record, place: record.place, node: record.node }
    : undefined;
};

/** The record on a pod that fitted nowhere when the leader last looked; undefined when there is none. */
export const waitingRecordOf = (pod: Pick<Pod, 'metadata'>): WaitingRecord | undefined => {
  const record = parsed(pod);
  return record?.place === undefined && typeof record?.at === 'string' && typeof record.rejected === 'object'
    ? { at: record.at, rejected: record.rejected }
    : undefined;
};
