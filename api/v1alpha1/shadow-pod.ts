import { z } from 'zod';
import { DnsLabel, DnsSubdomain } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** A pod of a consumer that this cluster keeps alive; in the twin namespace, named as the pod at home. */
export const ShadowPodKind = defineKind({
  kind: 'ShadowPod',
  plural: 'shadowpods',
  shortNames: ['shadow'],
  scope: 'Namespaced',
  description: "A consumer's pod, kept alive here.",
  spec: z.object({
    home: z.object({
      clusterID: z.string().max(26),
      namespace: DnsLabel,
      name: DnsSubdomain,
      uid: z.string().max(64),
      node: z.string().max(253),
    }),
    fence: z
      .object({ stopSeconds: z.number().int().min(1).max(3600) })
      .optional()
      .describe('It runs only while home says so, and stops within so many seconds.'),
    grant: DnsSubdomain.describe('The Grant it counts against.'),
    pod: z
      .object({
        labels: z.record(z.string().max(317), z.string().max(63)).optional(),
        annotations: z.record(z.string().max(317), z.string().max(262144)).optional(),
        spec: z
          .record(z.string(), z.unknown())
          .meta({ 'x-kubernetes-preserve-unknown-fields': true })
          .describe('PodSpec as translated for this cluster.'),
      })
      .describe('What the pod is to be.'),
  }),
  status: z.object({
    phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed', 'Refused']).optional(),
    podUID: z.string().max(64).optional(),
    incarnations: z.number().int().optional().describe('How many pods were made for it, one after another.'),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
    { name: 'Home', type: 'string', jsonPath: '.spec.home.clusterID', priority: 1 },
    { name: 'Home-Namespace', type: 'string', jsonPath: '.spec.home.namespace' },
    AGE_COLUMN,
  ],
});
export type ShadowPod = ObjectOf<typeof ShadowPodKind>;
