import { z } from 'zod';

/** `metav1.Condition`: a statement about an object that is true at the time it says. */
export const Condition = z.object({
  type: z.string().max(128).describe('What the condition is about, UpperCamel.'),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string().max(128).describe('UpperCamel word for programs.'),
  message: z.string().max(2048).describe('A sentence for people.'),
  lastTransitionTime: z.string().max(64).describe('When the status last changed, RFC 3339.'),
  observedGeneration: z.number().int().optional(),
});
export type Condition = z.infer<typeof Condition>;

/** The list of conditions in a status; a map keyed by `type` for server-side apply. */
export const Conditions = z
  .array(Condition)
  .max(32)
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] });

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
