import { z } from 'zod';
import { DnsLabel } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** Where the pods of an opened namespace may run. */
export const OffloadingStrategy = z.enum(['LocalAndRemote', 'Remote', 'Local']);
export type OffloadingStrategy = z.infer<typeof OffloadingStrategy>;

/** How a namespace is open to the fabric; always named `offloading`. The label `fluvia.dev/offload=true` makes one. */
export const NamespaceOffloadingKind = defineKind({
  kind: 'NamespaceOffloading',
  plural: 'namespaceoffloadings',
  shortNames: ['nsoff'],
  scope: 'Namespaced',
  description: 'Opens its namespace to peers.',
  spec: z.object({
    strategy: OffloadingStrategy.default('LocalAndRemote').describe(
      'LocalAndRemote: pods may run at home or at peers; Remote: only at peers; Local: services are seen at peers, pods stay.',
    ),
    peers: z
      .array(DnsLabel)
      .max(256)
      .optional()
      .describe('Peers it may flow to; all providers when missing.'),
    mapping: z
      .enum(['auto', 'same'])
      .default('auto')
      .describe(
        'Name of the twin: same as home (a taken name is refused), or suffixed with the cluster where it is taken.',
      ),
  }),
  status: z.object({
    peers: z
      .array(
        z.object({
          peer: DnsLabel,
          twin: DnsLabel.optional(),
          ready: z.boolean(),
          reason: z.string().max(128),
          message: z.string().max(1024),
        }),
      )
      .max(256)
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['peer'] })
      .optional(),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Strategy', type: 'string', jsonPath: '.spec.strategy' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      priority: 1,
    },
    AGE_COLUMN,
  ],
  objectRules: [
    {
      rule: "self.metadata.name == 'offloading'",
      message: 'a NamespaceOffloading must be named "offloading"',
    },
  ],
});
export type NamespaceOffloading = ObjectOf<typeof NamespaceOffloadingKind>;
