import type { Condition } from './conditions.ts';

/** A condition before it is stamped with its transition time. */
export interface ConditionInput {
  readonly type: string;
  readonly status: Condition['status'];
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
}

/**
 * `existing` with `input` set: the transition time moves only when the status changes, so that an unchanged
 * statement is an unchanged object. `now` is RFC 3339.
 */
export const setCondition = (
  existing: readonly Condition[] | undefined,
  input: ConditionInput,
  now: string,
): Condition[] => {
  const old = existing?.find((c) => c.type === input.type);
  const lastTransitionTime = old?.status === input.status ? old.lastTransitionTime : now;
  const next: Condition = { ...input, message: input.message.slice(0, 2048), lastTransitionTime };
  const others = (existing ?? []).filter((c) => c.type !== input.type);
  return [...others, next].sort((a, b) => (a.type < b.type ? -1 : 1));
};

/** Whether the condition of this type is there and True. */
export const isConditionTrue = (conditions: readonly Condition[] | undefined, type: string): boolean =>
  conditions?.some((c) => c.type === type && c.status === 'True') ?? false;
