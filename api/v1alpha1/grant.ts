import { z } from 'zod';
import { DnsLabel, DnsSubdomain } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';
import { QuantityString, ResourceList } from '../quantity.ts';
import { GrantTerms, PricePerHour } from './claim.ts';

/** What this cluster gives to a consumer; named `<peer>-<claim>`. */
export const GrantKind = defineKind({
  kind: 'Grant',
  plural: 'grants',
  shortNames: ['grant'],
  scope: 'Cluster',
  description: 'Capacity given to a peer, and how much of it is used. Enforced whatever the peer says.',
  spec: z.object({
    peer: DnsLabel,
    claim: DnsSubdomain.describe("Name of the Claim at the peer's."),
    resources: ResourceList,
    peerMaximum: ResourceList.optional().describe(
      'Most that all pods of the peer may count together, whichever claim they came by.',
    ),
    withdrawn: z
      .boolean()
      .optional()
      .describe(
        'Its claim is gone, or gets nothing any more, but pods that came by it hold `resources`: nothing is added.',
      ),
    terms: GrantTerms.optional(),
  }),
  status: z.object({ used: ResourceList.optional(), conditions: Conditions.optional() }),
  columns: [
    { name: 'Peer', type: 'string', jsonPath: '.spec.peer' },
    { name: 'CPU', type: 'string', jsonPath: '.spec.resources.cpu' },
    { name: 'Used', type: 'string', jsonPath: '.status.used.cpu' },
    { name: 'Memory', type: 'string', jsonPath: '.spec.resources.memory' },
    { name: 'Pods', type: 'string', jsonPath: '.spec.resources.pods' },
    { name: 'Used-Pods', type: 'string', jsonPath: '.status.used.pods' },
    AGE_COLUMN,
  ],
});
export type Grant = ObjectOf<typeof GrantKind>;

/** What each foreign container asks for at least where no policy says otherwise. */
export const LEAST_REQUESTS = { cpu: '10m', memory: '16Mi' } as const;

/**
 * The most of a consumer that exists here at once where no policy says otherwise. All of it lies in etcd, whose usual size is
 * 2 GiB for the whole cluster: so several peers that use all of this do it no harm. A pod with its record takes about 10 KiB,
 * a Service with its slices 3 KiB.
 */
export const MOST_HELD = { namespaces: 500, objects: 20_000, pods: 20_000, size: '256Mi' } as const;

/**
 * Namespaces that are never twins where no policy says otherwise: those in which widely used parts of a cluster stand, and in
 * which tools, policies and people trust. A consumer must not take such a name before the provider installs there. A `*` at
 * the end stands for any rest.
 */
export const RESERVED_NAMESPACES: readonly string[] = [
  'amazon-cloudwatch',
  'argo',
  'argo-cd',
  'argo-events',
  'argo-rollouts',
  'argocd',
  'aws-observability',
  'azure-arc',
  'calico-*',
  'cattle-*',
  'cert-manager',
  'cilium',
  'cilium-*',
  'cnpg-system',
  'crossplane-system',
  'external-dns',
  'external-secrets',
  'falco',
  'flux-system',
  'gatekeeper-system',
  'gke-*',
  'gmp-*',
  'gpu-operator',
  'ingress-nginx',
  'istio-*',
  'keda',
  'knative-*',
  'kubernetes-dashboard',
  'kubevirt',
  'kyverno',
  'linkerd',
  'linkerd-*',
  'liqo',
  'liqo-system',
  'local-path-storage',
  'longhorn-system',
  'metallb-system',
  'monitoring',
  'olm',
  'openebs',
  'openshift',
  'openshift-*',
  'operators',
  'rook-ceph',
  'sealed-secrets',
  'tigera-*',
  'traefik',
  'vault',
  'velero',
];

const NamespacePattern = z
  .string()
  .max(64)
  .regex(/^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$|^[a-z0-9][-a-z0-9]*\*$/);

const count = z.number().int().min(0).max(1_000_000);

/** Rules by which grants are given and foreign pods are accepted; which one holds for a peer: `policyOfPeer`. */
export const GrantPolicyKind = defineKind({
  kind: 'GrantPolicy',
  plural: 'grantpolicies',
  shortNames: ['gp'],
  scope: 'Cluster',
  description:
    'How much a consumer may get, and what its pods may be. One policy alone holds for a peer, in all its fields: the first by name that names it in `peers`, else the one named `default` if it has no `peers`, else the defaults below.',
  spec: z.object({
    peers: z
      .array(DnsLabel)
      .max(256)
      .optional()
      .describe(
        'Names of the Peers it holds for. Only the policy `default` may do without: then it holds for all that no other names.',
      ),
    maximum: ResourceList.optional().describe(
      'Most that all claims of one peer get together; by default `sharePercent` of what is allocatable.',
    ),
    sharePercent: z.number().int().min(1).max(100).default(80),
    podSecurity: z
      .enum(['privileged', 'baseline', 'restricted'])
      .default('baseline')
      .describe(
        'Pod Security Standard that twin namespaces enforce. Copies of volumes need `baseline` or more: their movers run as root. `privileged` in a policy other than `default` needs `privilegedTwins` there.',
      ),
    privilegedTwins: z
      .boolean()
      .optional()
      .describe(
        'In `default` only: policies of single peers may say `podSecurity: privileged`. Without it the API server refuses such twins, whoever asks, so that a leader that was taken over can make none.',
      ),
    leastRequests: z
      .object({
        cpu: QuantityString.optional(),
        memory: QuantityString.optional(),
        'ephemeral-storage': QuantityString.optional(),
      })
      .default(LEAST_REQUESTS)
      .describe(
        'What each container asks for at least: written into its pod, and counted. `{}` for nothing.',
      ),
    imagePull: z
      .enum(['Always', 'AsAsked'])
      .optional()
      .describe(
        "Whether foreign pods' images are always asked of their registry. When missing, they are while a node's kubelet is older than 1.35, which runs a cached image whoever pulled it.",
      ),
    mostHeld: z
      .object({
        namespaces: count.default(MOST_HELD.namespaces).describe('Twin namespaces.'),
        objects: count
          .default(MOST_HELD.objects)
          .describe('Services, EndpointSlices, ConfigMaps and Secrets in them.'),
        pods: count.default(MOST_HELD.pods).describe('Pods, also those that ended and are still asked for.'),
        size: QuantityString.default(MOST_HELD.size).describe(
          'Bytes of objects and pods together. So much may be written at once, too, and again within ten minutes.',
        ),
      })
      .optional()
      .describe('The most of a peer that exists here at once, whatever its grants: it fills etcd.'),
    reservedNamespaces: z
      .array(NamespacePattern)
      .max(256)
      .optional()
      .describe(
        `Names that no twin gets, beside \`default\`, \`kube-*\` and \`fluvia-*\`; a \`*\` at the end stands for any rest. When missing: ${RESERVED_NAMESPACES.join(', ')}. A list here stands instead of that one. Twins that exist stay.`,
      ),
    zone: z.string().max(63).optional(),
    region: z.string().max(63).optional(),
    pricePerHour: PricePerHour.optional().describe(
      'Price of a core, a GiB of memory or storage, or a piece of anything else, for an hour; free when missing.',
    ),
  }),
  status: z.object({ conditions: Conditions.optional() }),
  columns: [
    { name: 'Share', type: 'integer', jsonPath: '.spec.sharePercent' },
    { name: 'Pod-Security', type: 'string', jsonPath: '.spec.podSecurity' },
    AGE_COLUMN,
  ],
});
export type GrantPolicy = ObjectOf<typeof GrantPolicyKind>;
