/** The Go programs a testbed is made of: what to build, how, and how to recognise a copy that is already on the machine. */

export interface ToolSpec {
  readonly name: string;
  /** Go module whose version in our go.mod is the tool's version. */
  readonly module: string;
  /** Output file → Go package, `.` for our own main.go. */
  readonly programs: Readonly<Record<string, string>>;
  /** Further names for one of the programs, as links. */
  readonly links?: { readonly to: string; readonly names: readonly string[] };
  readonly cgo?: boolean;
  readonly tags?: string;
  /** `-ldflags` beside `-s -w`, from the version. */
  readonly ldflags?: (version: string) => string;
  /** Asked of a copy found on the machine; its answer has to hold the version. */
  readonly probe: { readonly file: string; readonly args: readonly string[] };
}

const containerd = 'github.com/containerd/containerd/v2/cmd';
const cni = 'github.com/containernetworking/plugins/plugins';
const component = 'k8s.io/component-base/version';

/** Flags of every build. `-buildvcs=false`: else each commit of this repository would relink everything. */
export const BUILD_FLAGS = ['-trimpath', '-buildvcs=false'] as const;

export const KUBE_PROGRAMS = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'kubelet',
  'kubectl',
] as const;

export const TOOLS = {
  kube: {
    name: 'kube',
    module: 'k8s.io/kubernetes',
    programs: { kube: '.' },
    links: { to: 'kube', names: KUBE_PROGRAMS },
    ldflags: (version) => {
      const [major = '1', minor = ''] = version.slice(1).split('.');
      return `-X ${component}.gitVersion=${version} -X ${component}.gitMajor=${major} -X ${component}.gitMinor=${minor}`;
    },
    probe: { file: 'kubelet', args: ['--version'] },
  },
  containerd: {
    name: 'containerd',
    module: 'github.com/containerd/containerd/v2',
    programs: {
      containerd: `${containerd}/containerd`,
      'containerd-shim-runc-v2': `${containerd}/containerd-shim-runc-v2`,
      ctr: `${containerd}/ctr`,
    },
    tags: 'no_btrfs,no_zfs,no_devmapper',
    probe: { file: 'containerd', args: ['--version'] },
  },
  runc: {
    name: 'runc',
    module: 'github.com/opencontainers/runc',
    programs: { runc: 'github.com/opencontainers/runc' },
    cgo: true,
    tags: 'seccomp',
    probe: { file: 'runc', args: ['--version'] },
  },
  cni: {
    name: 'cni',
    module: 'github.com/containernetworking/plugins',
    programs: {
      bridge: `${cni}/main/bridge`,
      loopback: `${cni}/main/loopback`,
      'host-local': `${cni}/ipam/host-local`,
      portmap: `${cni}/meta/portmap`,
    },
    probe: { file: 'bridge', args: ['--version'] },
  },
  coredns: {
    name: 'coredns',
    module: 'github.com/coredns/coredns',
    programs: { coredns: 'github.com/coredns/coredns' },
    probe: { file: 'coredns', args: ['-version'] },
  },
  'local-path': {
    name: 'local-path',
    module: 'github.com/rancher/local-path-provisioner',
    programs: { 'local-path-provisioner': 'github.com/rancher/local-path-provisioner' },
    probe: { file: 'local-path-provisioner', args: ['--version'] },
  },
  wireguard: {
    name: 'wireguard',
    module: 'golang.zx2c4.com/wireguard',
    // the program is wireguard-go everywhere but in its own module's name
    programs: { 'wireguard-go': 'golang.zx2c4.com/wireguard' },
    probe: { file: 'wireguard-go', args: ['--version'] },
  },
  /** The S3 server behind `fluviad store`; part of the embedded object store, not of a cluster. */
  versitygw: {
    name: 'versitygw',
    module: 'github.com/versity/versitygw',
    programs: { versitygw: 'github.com/versity/versitygw/cmd/versitygw' },
    ldflags: (version) => `-X main.Version=${version}`,
    probe: { file: 'versitygw', args: ['--version'] },
  },
} as const satisfies Record<string, ToolSpec>;

export type ToolName = keyof typeof TOOLS;

/** The version that a go.mod requires of a module. */
export const requiredVersion = (goMod: string, module: string): string => {
  const line = goMod
    .split('\n')
    .map((text) =>
      text
        .trim()
        .replace(/^require /, '')
        .split(' '),
    )
    .find(([name]) => name === module);
  if (line?.[1] === undefined) throw new Error(`go.mod does not require ${module}`);
  return line[1];
};

/** Whether what a program says of its version (`v1.37.2`, `1.2.3`) is the wanted one. */
export const versionFits = (said: string, wanted: string): boolean => {
  const plain = wanted.replace(/^v/, '').replaceAll(/[.+]/g, String.raw`\$&`);
  return new RegExp(String.raw`(^|[^\d.])v?${plain}($|[^\d.])`).test(said);
};
