import { NAMES, PORTS, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { fieldEnv, meta, realLinuxNodes, selectorOf, TOKEN_MOUNT, tokenVolume } from './common.ts';
import type { InstallOptions } from './options.ts';

/**
 * Where the host's `/proc/sys/net` is mounted: not in its own place, since runc refuses mounts inside `/proc`. It shows
 * the settings of the network namespace of whoever reads it, which for a host-network pod is the node's.
 */
export const SYSCTL_MOUNT = '/host/proc/sys/net';
/** What agent and wireguard-go share: the device's control socket, its key, and the wish for a device. */
export const WIREGUARD_DIR = '/var/run/wireguard';

/** One capability, nothing else: enough for sysctl, TUN, nftables, routes and VXLAN of the host's network. */
const securityContext = {
  runAsUser: 0,
  runAsGroup: 0,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

const probe = (path: string): object => ({
  httpGet: { host: '127.0.0.1', path, port: PORTS.agentHealth, scheme: 'HTTP' },
  timeoutSeconds: 3,
});

/** The agent's pod as it is specified; `deploy/agent.golden.yaml` holds it, and a test compares both with what runs. */
export const agentPodSpec = (image: string): object => ({
  serviceAccountName: NAMES.agent,
  // only the agent itself gets the token, by the volume below
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  hostNetwork: true,
  dnsPolicy: 'Default',
  priorityClassName: 'system-node-critical',
  terminationGracePeriodSeconds: 10,
  // a node without its agent has no fabric, whatever it is tainted with
  tolerations: [{ operator: 'Exists' }],
  affinity: { nodeAffinity: realLinuxNodes },
  containers: [
    {
      name: 'agent',
      image,
      imagePullPolicy: 'IfNotPresent',
      command: ['/bin/fluviad', 'agent'],
      env: [
        fieldEnv('NODE_NAME', 'spec.nodeName'),
        fieldEnv('POD_NAME', 'metadata.name'),
        { name: 'FLUVIA_SYSCTL_ROOT', value: SYSCTL_MOUNT },
        { name: 'FLUVIA_WIREGUARD_DIR', value: WIREGUARD_DIR },
      ],
      securityContext: { ...securityContext, appArmorProfile: { type: 'Unconfined' } },
      resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } },
      startupProbe: { ...probe('/healthz'), periodSeconds: 2, failureThreshold: 30 },
      livenessProbe: { ...probe('/healthz'), periodSeconds: 20, failureThreshold: 3 },
      readinessProbe: { ...probe('/readyz'), periodSeconds: 5 },
      volumeMounts: [
        { name: 'sysctl', mountPath: SYSCTL_MOUNT },
        { name: 'wireguard', mountPath: WIREGUARD_DIR },
        { name: 'run', mountPath: '/run/fluvia' },
        { name: 'token', mountPath: TOKEN_MOUNT, readOnly: true },
      ],
    },
    {
      // a container of its own, so that a dying agent leaves the tunnel up; idle where the kernel has WireGuard
      name: 'wireguard',
      image,
      imagePullPolicy: 'IfNotPresent',
      command: ['/bin/sh', '/opt/fluvia/wireguard-go.sh'],
      env: [{ name: 'FLUVIA_WIREGUARD_DIR', value: WIREGUARD_DIR }],
      securityContext,
      resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '512Mi' } },
      volumeMounts: [
        { name: 'tun', mountPath: '/dev/net/tun' },
        { name: 'wireguard', mountPath: WIREGUARD_DIR },
      ],
    },
  ],
  volumes: [
    { name: 'sysctl', hostPath: { path: '/proc/sys/net', type: 'Directory' } },
    { name: 'tun', hostPath: { path: '/dev/net/tun', type: 'CharDevice' } },
    { name: 'wireguard', emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } },
    // private keys on their way to `wg` are files here, never arguments
    { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } },
    tokenVolume,
  ],
});

/** The DaemonSet of the agents. */
export const agentDaemonSet = ({ image }: Pick<InstallOptions, 'image'>): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: meta(NAMES.agent, SYSTEM_NAMESPACE, { labels: selectorOf('agent') }),
  spec: {
    selector: { matchLabels: selectorOf('agent') },
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
    template: { metadata: { labels: selectorOf('agent') }, spec: agentPodSpec(image) },
  },
});
