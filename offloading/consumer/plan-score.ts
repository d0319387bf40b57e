import { FloatPolicyKind, type FloatPolicy } from '../../api/v1alpha1/float-policy.ts';
import type { PricePerHour } from '../../api/v1alpha1/claim.ts';
import type { Wants } from './plan-slots.ts';

/** The terms of best fit, each 0 (worst) … 1 (best). */
export const TERMS = ['room', 'price', 'rtt', 'data', 'spread'] as const;
export type Term = (typeof TERMS)[number];
export type Terms = Readonly<Record<Term, number>>;
/** How much each term counts, 0 … 100. */
export type Weights = Terms;

/** What is known of a place apart from its nodes. */
export interface PlaceFacts {
  /** Undefined: free of charge. */
  readonly pricePerHour?: PricePerHour | undefined;
  /** Round trip from home's gateway; undefined when not measured. Home itself has 0. */
  readonly rttMilliseconds?: number | undefined;
}

/** What the terms are made of, for one pod at one place. */
export interface Measures {
  /** How often the pod would fit once more on the node that takes it. */
  readonly room: number;
  /** Price of what the pod requests, for an hour. */
  readonly price: number;
  readonly rttMilliseconds: number | undefined;
  /** Bytes of its volumes that would have to move. */
  readonly dataBytes: number;
  /** Pods of the same owner there. */
  readonly count: number;
}

/** The part of a FloatPolicy that ranks. */
export interface RankPolicy {
  readonly weights: Weights;
  /** Most places among which kube-scheduler may choose. */
  readonly candidates: number;
}

const DEFAULTS = FloatPolicyKind.spec.parse({});

/** The rank policy of a FloatPolicy; the schema's defaults where there is none. */
export const rankPolicyOf = (policy: FloatPolicy | undefined): RankPolicy => {
  const { weights, candidates } = { ...DEFAULTS, ...policy?.spec };
  return { weights: { ...DEFAULTS.weights, ...weights }, candidates };
};

const GIBI = 2 ** 30;
/** At this round trip the term is half. */
const HALF_RTT_MS = 20;
/** At so many bytes to move the term is half. */
const HALF_DATA_BYTES = GIBI;

/** What a pod requests in the units of prices: cores, GiB, pieces. */
export const pricedUnits = (wants: Wants): Wants =>
  wants.map(([resource, amount]) => {
    const inBytes =
      resource === 'memory' || resource.endsWith('storage') || resource.startsWith('hugepages-');
    return [resource, inBytes ? amount / GIBI : amount];
  });

/** Price of an hour of it. */
export const priceOf = (units: Wants, pricePerHour: PricePerHour | undefined): number => {
  if (pricePerHour === undefined) return 0;
  let sum = 0;
  for (const [resource, amount] of units) sum += (pricePerHour[resource] ?? 0) * amount;
  return sum;
};

/** What the places that fit have between them: scores are relative to it. */
export interface Extremes {
  readonly highestPrice: number;
  readonly lowestCount: number;
  /** What hasn't been measured counts as the longest that was; as none at all when nothing was. */
  readonly longestRtt: number;
}

/** The extremes of the places that fit. */
export const extremesOf = (all: readonly { readonly measures: Measures }[]): Extremes => {
  let highestPrice = 0;
  let lowestCount = Infinity;
  let longestRtt = 0;
  for (const { measures } of all) {
    const { price, count, rttMilliseconds = 0 } = measures;
    if (rttMilliseconds > longestRtt) longestRtt = rttMilliseconds;
    if (price > highestPrice) highestPrice = price;
    if (count < lowestCount) lowestCount = count;
  }
  return { highestPrice, lowestCount, longestRtt };
};

const rttTerm = (rttMilliseconds: number | undefined, longest: number): number =>
  HALF_RTT_MS / (HALF_RTT_MS + Math.max(0, rttMilliseconds ?? longest));

/** The terms of one place. `room` saturates, so that large places don't attract everything. */
export const termsOf = (m: Measures, { highestPrice, lowestCount, longestRtt }: Extremes): Terms => ({
  room: m.room / (m.room + 1),
  price: highestPrice === 0 ? 1 : 1 - m.price / highestPrice,
  rtt: rttTerm(m.rttMilliseconds, longestRtt),
  data: HALF_DATA_BYTES / (HALF_DATA_BYTES + m.dataBytes),
  spread: 1 / (1 + m.count - lowestCount),
});

/** The weighted mean of the terms, 0 … 100; 0 when all weights are. */
export const scoreOf = (terms: Terms, weights: Weights): number => {
  const { room, price, rtt, data, spread } = weights;
  const total = room + price + rtt + data + spread;
  if (total === 0) return 0;
  const sum =
    terms.room * room + terms.price * price + terms.rtt * rtt + terms.data * data + terms.spread * spread;
  // Rounded, so that the noise of sums decides nothing.
  return Math.round((1e8 * sum) / total) / 1e6;
};
