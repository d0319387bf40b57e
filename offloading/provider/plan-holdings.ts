/** How much of a consumer may exist in this cluster at once, and be written in a time: all of it lies in etcd. */
import { parseQuantity } from '../../api/quantity.ts';
import { MOST_HELD, type GrantPolicy } from '../../api/v1alpha1/grant.ts';
import { formatAmount, shortages, type Amounts, type Shortage } from './plan-quota.ts';

/** The most of one consumer. */
export interface HeldLimits {
  readonly namespaces: number;
  readonly objects: number;
  readonly pods: number;
  /** Bytes. */
  readonly size: number;
}

/** Within this time as much may be written again as may exist: etcd keeps what was overwritten for five minutes. */
export const WRITE_WINDOW_MS = 600_000;

/** The limits of a policy; the built-in ones without. */
export const heldLimits = (policy: GrantPolicy | undefined): HeldLimits => {
  const { size, ...counts } = { ...MOST_HELD, ...policy?.spec.mostHeld };
  return { ...counts, size: parseQuantity(size) };
};

/** Bytes of an object as JSON, which is a little more than etcd needs. */
export const bytesOf = (object: unknown): number => Buffer.byteLength(JSON.stringify(object) ?? '');

/** What a reflected object counts. */
export const objectHolding = (bytes: number): Amounts => ({ objects: 1, size: bytes });

/** What a pod counts: its ShadowPod, and the Pod of about the same size. */
export const podHolding = (shadowBytes: number): Amounts => ({ pods: 1, size: 2 * shadowBytes });

/**
 * What is missing for `needed` beside `others`. What grows in nothing over `before`, the same thing as it is now, is never
 * refused: a limit that was lowered ends nothing, and lets what exists be mended.
 */
export const planHolding = (
  limits: HeldLimits,
  others: Amounts,
  before: Amounts | undefined,
  needed: Amounts,
): readonly Shortage[] =>
  before !== undefined && Object.entries(needed).every(([what, amount]) => amount <= (before[what] ?? 0))
    ? []
    : shortages({ ...limits }, others, needed);

const WHOSE = 'of this consumer at the peer';
const NEXT = 'remove some, or ask the peer’s administrator to raise GrantPolicy.spec.mostHeld';

/** Why something is refused, for the consumer. */
export const describeExcess = (limits: HeldLimits, missing: readonly Shortage[]): string => {
  const most = (['objects', 'pods', 'size'] as const)
    .filter((what) => missing.some(({ resource }) => resource === what))
    .map((what) =>
      what === 'size' ? `${formatAmount('storage', limits.size)} bytes in all` : `${limits[what]} ${what}`,
    );
  return `the most ${WHOSE} is ${most.join(' and ')}: ${NEXT}`;
};

/** Why there is no further twin; undefined when there may be one. */
export const whyNoTwin = (limits: HeldLimits, twins: number): string | undefined =>
  twins < limits.namespaces ? undefined : `the most ${WHOSE} is ${limits.namespaces} namespaces: ${NEXT}`;

/** How much may still be written, as of a time. */
export interface WriteBudget {
  readonly bytes: number;
  readonly atMs: number;
}

export interface WritePlan {
  readonly budget: WriteBudget;
  /** Until it may be written; 0 for now, and then it is paid for. */
  readonly waitMs: number;
}

/** Whether so many bytes may be written now. A budget that isn't there is full. */
export const planWrite = (
  before: WriteBudget | undefined,
  limits: HeldLimits,
  bytes: number,
  nowMs: number,
): WritePlan => {
  const perMs = limits.size / WRITE_WINDOW_MS;
  const full = limits.size;
  const has =
    before === undefined ? full : Math.min(full, before.bytes + Math.max(0, nowMs - before.atMs) * perMs);
  // What is larger than all that may ever be there is judged by the other limit.
  const price = Math.min(bytes, full);
  if (price <= has) return { budget: { bytes: has - price, atMs: nowMs }, waitMs: 0 };
  return { budget: { bytes: has, atMs: nowMs }, waitMs: Math.ceil((price - has) / perMs) };
};
