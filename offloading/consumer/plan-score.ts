import { FloatPolicyKind, type FloatPolicy } from '../../api/v1alpha1/float-policy.ts';
import type { PricePerHour } from '../../api/v1alpha1/claim.ts';
import type { Want, Wants } from './plan-slots.ts';

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
export const pricedUnits = ({ amounts }: Wants): readonly Want[] =>
  amounts.map(([resource, amount]) => {
    const inBytes =
      resource === 'memory' || resource.endsWith('storage') || resource.startsWith('hugepages-');
    return [resource, inBytes ? amount / GIBI : amount];
  });

/** Price of an hour of it. */
export const priceOf = (units: readonly Want[], pricePerHour: PricePerHour | undefined): number => {
  if (pricePerHour === undefined) return 0;
  let sum = 0;
  for (const [resource, amount] of units) sum += (pricePerHour[resource] ?? 0) * amount;
  return sum;
};

/** What the places that fit have between them: scores are relative to it. */
interface Extremes {
  readonly highestPrice: number;
  readonly lowestCount: number;
  /** What hasn't been measured counts as the longest that was; as none at all when nothing was. */
  readonly longestRtt: number;
}

/** The terms of one place. `room` saturates, so that large places don't attract everything. */
const termsOf = (m: Measures, { highestPrice, lowestCount, longestRtt }: Extremes): Terms => ({
  room: m.room / (m.room + 1),
  price: highestPrice === 0 ? 1 : 1 - m.price / highestPrice,
  rtt: HALF_RTT_MS / (HALF_RTT_MS + Math.max(0, m.rttMilliseconds ?? longestRtt)),
  data: HALF_DATA_BYTES / (HALF_DATA_BYTES + m.dataBytes),
  spread: 1 / (1 + m.count - lowestCount),
});

/** The weighted mean of the terms, 0 … 100; 0 when all weights are. */
const scoreOf = (terms: Terms, weights: Weights): number => {
  const { room, price, rtt, data, spread } = weights;
  const total = room + price + rtt + data + spread;
  if (total === 0) return 0;
  const sum =
    terms.room * room + terms.price * price + terms.rtt * rtt + terms.data * data + terms.spread * spread;
  // Rounded, so that the noise of sums decides nothing.
  return Math.round((1e8 * sum) / total) / 1e6;
};

/** A place's line of a score sheet with what it came to. */
export interface Scored {
  /** In the order in which the lines were added, from 0. */
  readonly line: number;
  /** 0 … 100. */
  readonly score: number;
  readonly terms: Terms;
  readonly measures: Measures;
}

/** Where the places that take a pod are compared; used again for the next pod. */
export interface ScoreSheet {
  clear(): void;
  /** Adds a line; the arguments are those of {@link Measures}. */
  add(
    room: number,
    price: number,
    rttMilliseconds: number | undefined,
    dataBytes: number,
    count: number,
  ): void;
  /** The lines with the highest scores, best first, at most `candidates`; among equals the one added first. */
  best(policy: RankPolicy): readonly Scored[];
}

/** A sheet for so many places. Columns of numbers: an object per place costs more than all the sums. */
export const createScoreSheet = (size: number): ScoreSheet => {
  const rooms = new Float64Array(size);
  const prices = new Float64Array(size);
  /** NaN: not measured. */
  const rtts = new Float64Array(size);
  const bytes = new Float64Array(size);
  const counts = new Float64Array(size);
  const scores = new Float64Array(size);
  let lines = 0;

  const measuresOf = (line: number): Measures => {
    const rtt = rtts[line] ?? Number.NaN;
    return {
      room: rooms[line] ?? 0,
      price: prices[line] ?? 0,
      rttMilliseconds: Number.isNaN(rtt) ? undefined : rtt,
      dataBytes: bytes[line] ?? 0,
      count: counts[line] ?? 0,
    };
  };

  const extremes = (): Extremes => {
    let highestPrice = 0;
    let lowestCount = Infinity;
    let longestRtt = 0;
    for (let line = 0; line < lines; line += 1) {
      const { price, count, rttMilliseconds = 0 } = measuresOf(line);
      if (rttMilliseconds > longestRtt) longestRtt = rttMilliseconds;
      if (price > highestPrice) highestPrice = price;
      if (count < lowestCount) lowestCount = count;
    }
    return { highestPrice, lowestCount, longestRtt };
  };

  return {
    clear: () => {
      lines = 0;
    },
    add: (room, price, rttMilliseconds, dataBytes, count) => {
      rooms[lines] = room;
      prices[lines] = price;
      rtts[lines] = rttMilliseconds ?? Number.NaN;
      bytes[lines] = dataBytes;
      counts[lines] = count;
      lines += 1;
    },
    best: ({ weights, candidates }) => {
      const among = extremes();
      const best: number[] = [];
      for (let line = 0; line < lines; line += 1) {
        const score = scoreOf(termsOf(measuresOf(line), among), weights);
        scores[line] = score;
        let index = best.length;
        while (index > 0 && (scores[best[index - 1] ?? 0] ?? 0) < score) index -= 1;
        if (index === candidates) continue;
        best.splice(index, 0, line);
        if (best.length > candidates) best.pop();
      }
      return best.map((line) => {
        const measures = measuresOf(line);
        return { line, score: scores[line] ?? 0, terms: termsOf(measures, among), measures };
      });
    },
  };
};
