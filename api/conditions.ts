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

export { isConditionTrue, setCondition, type ConditionInput } from './set-condition.ts';
