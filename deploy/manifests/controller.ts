import { NAMES, PORTS, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { fieldEnv, meta, realLinuxNodes, selectorOf } from './common.ts';
import type { InstallOptions } from './options.ts';

/** The user of everything that needs nothing of its host. */
export const UNPRIVILEGED_UID = 65532;

const probe = (path: string): object => ({
  httpGet: { path, port: 'metrics', scheme: 'HTTP' },
  timeoutSeconds: 3,
});

const controllerPodSpec = ({ image, clusterName }: InstallOptions): object => ({
  serviceAccountName: NAMES.controller,
  automountServiceAccountToken: true,
  enableServiceLinks: false,
  priorityClassName: 'system-cluster-critical',
  terminationGracePeriodSeconds: 30,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: UNPRIVILEGED_UID,
    runAsGroup: UNPRIVILEGED_UID,
    seccompProfile: { type: 'RuntimeDefault' },
  },
  affinity: {
    nodeAffinity: realLinuxNodes,
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          podAffinityTerm: {
            topologyKey: 'kubernetes.io/hostname',
            labelSelector: { matchLabels: selectorOf('controller') },
          },
        },
      ],
    },
  },
  containers: [
    {
      name: 'controller',
      image,
      imagePullPolicy: 'IfNotPresent',
      command: ['/bin/fluviad', 'controller'],
      env: [
        fieldEnv('POD_NAME', 'metadata.name'),
        fieldEnv('POD_UID', 'metadata.uid'),
        fieldEnv('POD_IP', 'status.podIP'),
        fieldEnv('NODE_NAME', 'spec.nodeName'),
        { name: 'FLUVIA_CLUSTER_NAME', value: clusterName },
        // for the init container of `fence` pods
        { name: 'FLUVIA_IMAGE', value: image },
      ],
      ports: [
        { name: 'peering', containerPort: PORTS.peering, protocol: 'TCP' },
        { name: 'webhook', containerPort: PORTS.webhook, protocol: 'TCP' },
        { name: 'metrics', containerPort: PORTS.metrics, protocol: 'TCP' },
      ],
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '1Gi' } },
      startupProbe: { ...probe('/healthz'), periodSeconds: 2, failureThreshold: 30 },
      livenessProbe: { ...probe('/healthz'), periodSeconds: 20, failureThreshold: 3 },
      readinessProbe: { ...probe('/readyz'), periodSeconds: 3, failureThreshold: 2 },
    },
  ],
});

/** The Deployment of the controllers: two replicas, one of which leads; both admit pods. */
export const controllerDeployment = (options: InstallOptions): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: meta(NAMES.controller, SYSTEM_NAMESPACE, {
    labels: {
      ...selectorOf('controller'),
      ...(options.version === undefined ? {} : { 'app.kubernetes.io/version': options.version }),
    },
  }),
  spec: {
    replicas: 2,
    revisionHistoryLimit: 2,
    selector: { matchLabels: selectorOf('controller') },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 1 } },
    template: { metadata: { labels: selectorOf('controller') }, spec: controllerPodSpec(options) },
  },
});

/** Keeps one of the two through drains of nodes. */
export const controllerDisruptionBudget: KubeObject = {
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: meta(NAMES.controller, SYSTEM_NAMESPACE),
  spec: {
    maxUnavailable: 1,
    unhealthyPodEvictionPolicy: 'AlwaysAllow',
    selector: { matchLabels: selectorOf('controller') },
  },
};
