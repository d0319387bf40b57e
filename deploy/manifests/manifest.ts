import { customResourceDefinition } from '../../api/structural.ts';
import {
  API_VERSION,
  NAMES,
  PEERS_NAMESPACE,
  SYSTEM_NAMESPACE,
  VOLUMES_NAMESPACE,
} from '../../api/labels.ts';
import { KINDS } from '../../api/v1alpha1/kinds.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { agentDaemonSet } from './agent.ts';
import { meta } from './common.ts';
import { controllerDeployment, controllerDisruptionBudget } from './controller.ts';
import type { InstallOptions } from './options.ts';
import { daemonSetPolicies } from './daemon-sets.ts';
import { admissionPolicies } from './policies.ts';
import { rbac } from './rbac.ts';
import { storageClass } from './storage.ts';
import { storeObjects } from './store.ts';
import { peeringService, webhookConfigurations, webhookService } from './services.ts';

const namespace = (name: string, podSecurity: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: meta(name, undefined, { labels: { 'pod-security.kubernetes.io/enforce': podSecurity } }),
});

/** The one NetworkConfig. Only what was asked for: an apply leaves what people set beside it. */
const networkConfig = (options: InstallOptions): KubeObject => ({
  apiVersion: API_VERSION,
  kind: 'NetworkConfig',
  metadata: meta(NAMES.networkConfig),
  spec: {
    podCIDRs: options.podCIDRs,
    serviceCIDRs: options.serviceCIDRs,
    ...(options.externalCIDR === undefined ? {} : { externalCIDR: options.externalCIDR }),
    ...(options.viewPools === undefined ? {} : { viewPools: options.viewPools }),
    ...(options.reservedCIDRs === undefined ? {} : { reservedCIDRs: options.reservedCIDRs }),
  },
});

/** Objects that are applied together; a stage begins when the one before stands. */
export interface Stage {
  readonly title: string;
  readonly objects: readonly KubeObject[];
}

/**
 * Everything that is installed, in the order in which it must be applied: kinds before their objects, rights and
 * policies before who uses them, workloads last.
 */
export const installStages = (options: InstallOptions): readonly Stage[] => [
  {
    title: 'Namespaces',
    // host network and host paths of the agents make their namespace a privileged one; in the second no pod runs; movers in
    // the third read and write files of any owner
    objects: [
      namespace(SYSTEM_NAMESPACE, 'privileged'),
      namespace(PEERS_NAMESPACE, 'restricted'),
      namespace(VOLUMES_NAMESPACE, 'baseline'),
    ],
  },
  {
    title: `${KINDS.length} kinds (CRDs)`,
    objects: KINDS.map((kind) => customResourceDefinition(kind) as unknown as KubeObject),
  },
  {
    title: 'Rights and admission policies',
    objects: [
      ...rbac,
      ...admissionPolicies,
      ...(options.hasMutatingPolicies === false ? [] : daemonSetPolicies),
    ],
  },
  {
    title: 'Services, webhooks and network configuration',
    objects: [
      peeringService(options),
      webhookService,
      ...webhookConfigurations,
      networkConfig(options),
      storageClass,
    ],
  },
  {
    title: 'Agents and controllers',
    objects: [controllerDisruptionBudget, agentDaemonSet(options), controllerDeployment(options)],
  },
  ...(options.objectStore === undefined ? [] : [{ title: 'Store', objects: storeObjects(options) }]),
];
