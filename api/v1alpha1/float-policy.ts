import { z } from 'zod';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** What happens to a floated pod while its peer is lost. */
export const OnLoss = z.enum(['wait', 'replace', 'fence']);
export type OnLoss = z.infer<typeof OnLoss>;

const Weight = z.number().int().min(0).max(100);

/** How pods float; the one named `default` holds for every namespace. */
export const FloatPolicyKind = defineKind({
  kind: 'FloatPolicy',
  plural: 'floatpolicies',
  shortNames: ['fp'],
  scope: 'Cluster',
  description: 'Weights of best fit, and what happens when a peer is lost.',
  spec: z.object({
    weights: z
      .object({
        room: Weight.default(30).describe('More room left on the node that would take it.'),
        price: Weight.default(20).describe('A lower price per hour.'),
        rtt: Weight.default(20).describe('A shorter round trip to what it talks to.'),
        data: Weight.default(50).describe('Fewer bytes of its volumes to move.'),
        spread: Weight.default(40).describe('Fewer pods of the same owner there.'),
      })
      .default({ room: 30, price: 20, rtt: 20, data: 50, spread: 40 })
      .describe('0 leaves a term out.'),
    candidates: z
      .number()
      .int()
      .min(1)
      .max(8)
      .default(8)
      .describe('Most places among which kube-scheduler may choose.'),
    onLoss: OnLoss.optional().describe(
      'wait: never replaced, never stopped; replace: another is started at home after the grace time, the surplus goes on ' +
        'return; fence: the provider stops it when its lease lapses, and only then another may start. When missing: fence for ' +
        'StatefulSets and for pods with a volume of class fluvia, wait for bare pods, replace for the rest.',
    ),
    hysteresisSeconds: z
      .number()
      .int()
      .min(1)
      .max(600)
      .default(5)
      .describe('Silence after which a peer counts as lost.'),
    graceSeconds: z
      .number()
      .int()
      .min(0)
      .max(86400)
      .default(60)
      .describe('Loss after which `replace` starts another.'),
    leaseSeconds: z
      .number()
      .int()
      .min(5)
      .max(3600)
      .default(20)
      .describe('L: how long a provider may run `fence` pods unheard.'),
    stopSeconds: z
      .number()
      .int()
      .min(1)
      .max(3600)
      .default(40)
      .describe('S: bound on stopping a `fence` pod; at least its grace.'),
    replaceWhenAllLost: z
      .boolean()
      .default(false)
      .describe(
        'Whether home replaces pods when it has lost every peer at once, and so may be the lost one itself.',
      ),
  }),
  status: z.object({ conditions: Conditions.optional() }),
  objectRules: [
    { rule: "self.metadata.name == 'default'", message: 'there is one FloatPolicy, named "default"' },
  ],
  columns: [
    { name: 'On-Loss', type: 'string', jsonPath: '.spec.onLoss' },
    { name: 'Grace', type: 'integer', jsonPath: '.spec.graceSeconds' },
    AGE_COLUMN,
  ],
});
export type FloatPolicy = ObjectOf<typeof FloatPolicyKind>;
