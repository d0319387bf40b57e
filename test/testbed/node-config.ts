/** What runs on a node and with which settings: pure text from the plan. The reasons for odd values are in docs and comments here. */
import { DNS_ADDRESS, POD_CIDR, SERVICE_CIDR, type ClusterPlan, type NodePlan } from './plan-addresses.ts';

/** Folders and programs as the node sees them (the same paths as on the host). */
export interface NodePaths {
  /** The node's own folder: `conf`, `log`, `state`. */
  readonly folder: string;
  readonly pki: string;
  readonly kube: Readonly<Record<string, string>>;
  readonly containerd: string;
  readonly runc: string;
}

/** A file below the node's `conf` folder. */
export type ConfFiles = Readonly<Record<string, string>>;

const yaml = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`;

const kubeletConfig = (node: NodePlan, paths: NodePaths): unknown => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: `${paths.pki}/ca.crt` },
  },
  authorization: { mode: 'Webhook' },
  tlsCertFile: `${paths.pki}/kubelet-${node.name}.crt`,
  tlsPrivateKeyFile: `${paths.pki}/kubelet-${node.name}.key`,
  containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
  cgroupDriver: 'cgroupfs',
  failCgroupV1: false,
  failSwapOn: false,
  oomScoreAdj: 0, // lowering it needs CAP_SYS_RESOURCE, which a container or a small VM may not have
  makeIPTablesUtilChains: false,
  resolvConf: '/etc/resolv.conf',
  clusterDNS: [DNS_ADDRESS],
  clusterDomain: 'cluster.local',
  evictionHard: {
    'nodefs.available': '0%',
    'nodefs.inodesFree': '0%',
    'imagefs.available': '0%',
    'memory.available': '0%',
  },
  imageGCHighThresholdPercent: 100, // there is no registry to pull a collected image from again
  maxPods: 200,
  serializeImagePulls: false,
  registryPullQPS: 0,
  eventRecordQPS: 0,
  kubeAPIQPS: 200,
  kubeAPIBurst: 400,
  nodeStatusUpdateFrequency: '2s',
  nodeLeaseDurationSeconds: 10,
  syncFrequency: '5s',
  volumeStatsAggPeriod: '0s',
  // by default up to 5 minutes: tests that kill the same container again and again would mostly wait
  crashLoopBackOff: { maxContainerRestartPeriod: '5s' },
  shutdownGracePeriod: '0s',
});

const proxyConfig = (node: NodePlan, paths: NodePaths): unknown => ({
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  mode: 'nftables',
  clientConnection: { kubeconfig: `${paths.pki}/proxy.conf` },
  detectLocalMode: 'ClusterCIDR',
  clusterCIDR: POD_CIDR,
  hostnameOverride: node.name,
  oomScoreAdj: 0,
  // these are sysctls of the whole machine, not writable from a network namespace
  conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  nftables: { minSyncPeriod: '100ms', syncPeriod: '30s' },
});

const containerdConfig = (paths: NodePaths): string => `version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'fluvia.local/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '${paths.runc}'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.metadata.v1.bolt']
  no_sync = true
`;

/** No ipMasq: it would also masquerade towards the cluster's other nodes. */
const cniConfig = (node: NodePlan): unknown => ({
  cniVersion: '1.0.0',
  name: 'testbed',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      isDefaultGateway: true,
      hairpinMode: true,
      ipam: { type: 'host-local', dataDir: '/run/cni-ipam', ranges: [[{ subnet: node.podCidr }]] },
    },
    { type: 'portmap', backend: 'nftables', capabilities: { portMappings: true } },
  ],
});

const controlPlane = (node: NodePlan, paths: NodePaths): Readonly<Record<string, readonly string[]>> => {
  const { pki, kube } = paths;
  const program = (name: string): string => kube[name] ?? name;
  const kubeconfigs = (user: string): readonly string[] =>
    ['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map(
      (flag) => `--${flag}=${pki}/${user}.conf`,
    );
  return {
    etcd: [
      program('etcd'),
      `--data-dir=${paths.folder}/state/etcd`,
      '--unsafe-no-fsync',
      ...['listen-client-urls', 'advertise-client-urls'].map((flag) => `--${flag}=http://127.0.0.1:2379`),
      '--listen-peer-urls=http://127.0.0.1:2380',
    ],
    'kube-apiserver': [
      program('kube-apiserver'),
      '--etcd-servers=http://127.0.0.1:2379',
      '--secure-port=6443',
      '--bind-address=0.0.0.0',
      `--advertise-address=${node.ip}`,
      `--client-ca-file=${pki}/ca.crt`,
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--service-account-key-file=${pki}/sa.pub`,
      `--service-account-signing-key-file=${pki}/sa.key`,
      '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
      '--authorization-mode=Node,RBAC',
      `--service-cluster-ip-range=${SERVICE_CIDR}`,
      `--kubelet-client-certificate=${pki}/kubelet-client.crt`,
      `--kubelet-client-key=${pki}/kubelet-client.key`,
      `--requestheader-client-ca-file=${pki}/front-ca.crt`,
      '--requestheader-allowed-names=front-proxy',
      '--requestheader-extra-headers-prefix=X-Remote-Extra-',
      '--requestheader-group-headers=X-Remote-Group',
      '--requestheader-username-headers=X-Remote-User',
      `--proxy-client-cert-file=${pki}/front.crt`,
      `--proxy-client-key-file=${pki}/front.key`,
      '--allow-privileged=true',
      '--enable-admission-plugins=NodeRestriction',
      '--kubelet-preferred-address-types=InternalIP',
    ],
    'kube-controller-manager': [
      program('kube-controller-manager'),
      ...kubeconfigs('controller-manager'),
      '--leader-elect=false',
      '--use-service-account-credentials=true',
      `--root-ca-file=${pki}/ca.crt`,
      `--service-account-private-key-file=${pki}/sa.key`,
      `--cluster-signing-cert-file=${pki}/ca.crt`,
      `--cluster-signing-key-file=${pki}/ca.key`,
      '--allocate-node-cidrs=false',
      '--node-monitor-period=1s',
      '--node-monitor-grace-period=16s',
      '--kube-api-qps=200',
      '--kube-api-burst=400',
    ],
    'kube-scheduler': [program('kube-scheduler'), ...kubeconfigs('scheduler'), '--leader-elect=false'],
  };
};

/**
 * All files of a node's `conf` folder. `daemons/X` and `daemons-after-api/X` hold a command line, one argument per
 * line; the second kind starts once the API server answers.
 */
export const nodeFiles = (cluster: ClusterPlan, node: NodePlan, paths: NodePaths): ConfFiles => {
  const conf = `${paths.folder}/conf`;
  const isFirst = cluster.nodes[0]?.name === node.name;
  const daemons: Readonly<Record<string, readonly string[]>> = {
    ...(isFirst ? controlPlane(node, paths) : {}),
    containerd: [paths.containerd, '-c', `${conf}/containerd.toml`],
  };
  const late: Readonly<Record<string, readonly string[]>> = {
    kubelet: [
      paths.kube.kubelet ?? 'kubelet',
      `--config=${conf}/kubelet.yaml`,
      `--kubeconfig=${paths.pki}/kubelet-${node.name}.conf`,
      `--hostname-override=${node.name}`,
      `--node-ip=${node.ip}`,
      '--root-dir=/var/lib/kubelet',
    ],
    'kube-proxy': [paths.kube['kube-proxy'] ?? 'kube-proxy', `--config=${conf}/proxy.yaml`],
  };
  const commands = (folder: string, of: Readonly<Record<string, readonly string[]>>): ConfFiles =>
    Object.fromEntries(
      Object.entries(of).map(([name, argv]) => [`${folder}/${name}`, `${argv.join('\n')}\n`]),
    );
  return {
    'kubelet.yaml': yaml(kubeletConfig(node, paths)),
    'proxy.yaml': yaml(proxyConfig(node, paths)),
    'containerd.toml': containerdConfig(paths),
    '10-testbed.conflist': yaml(cniConfig(node)),
    ...commands('daemons', daemons),
    ...commands('daemons-after-api', late),
  };
};
