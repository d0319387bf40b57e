import type { Testbed } from '../testbed/testbed.ts';
import { eventually } from './fluviactl.ts';

/** A process of a container, as its node sees it. */
export interface PodProcess {
  readonly pid: number;
  readonly parent: number;
  /** Command line, arguments separated by blanks. */
  readonly command: string;
  /** Path of its cgroup (memory hierarchy) as the node sees it. */
  readonly cgroup: string;
}

/** Every process on a node with its cgroup. */
export const listProcesses = async (testbed: Testbed, node: string): Promise<PodProcess[]> => {
  const script = `for p in /proc/[0-9]*; do
    c=$(grep -s :memory: $p/cgroup) || continue
    printf '%s\\t%s\\t%s\\t%s\\n' "\${p#/proc/}" "$(awk '{print $4}' $p/stat 2>/dev/null)" "\${c##*:memory:}" "$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)"
  done`;
  const { stdout } = await testbed.execNode(node, ['sh', '-c', script]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [pid = '', parent = '', cgroup = '', command = ''] = line.split('\t');
      return { pid: Number(pid), parent: Number(parent), cgroup, command: command.trim() };
    });
};

/** A pod as these helpers need it. */
export interface PodRef {
  readonly name: string;
  readonly uid: string;
  readonly node: string;
}

/** Pods of Fluvia's own workloads in a cluster. */
export const fluviaPods = async (testbed: Testbed, cluster: string, app: string): Promise<PodRef[]> => {
  const list = JSON.parse(
    await testbed.kubectl(cluster, ['get', 'pods', '-n', 'fluvia-system', '-o', 'json']),
  ) as { items: { metadata: { name: string; uid: string }; spec: { nodeName?: string } }[] };
  return list.items
    .filter((pod) => pod.metadata.name.startsWith(app))
    .map((pod) => ({ name: pod.metadata.name, uid: pod.metadata.uid, node: pod.spec.nodeName ?? '' }));
};

/** Kills (SIGKILL) the `fluviad` processes of a pod; returns how many were hit. `onKill` is called just before. */
export const killPodProcesses = async (
  testbed: Testbed,
  cluster: string,
  pod: PodRef,
  match: RegExp,
  onKill: () => void = () => undefined,
): Promise<number> => {
  const node = `${cluster}/${pod.node}`;
  const victims = (await listProcesses(testbed, node)).filter(
    (p) => p.cgroup.includes(pod.uid) && match.test(p.command),
  );
  if (victims.length > 0) {
    onKill();
    await testbed.execNode(node, ['kill', '-KILL', ...victims.map((p) => String(p.pid))]);
  }
  return victims.length;
};

/** The controllers' Lease. */
export interface LeaderLease {
  /** Name of the leading pod. */
  readonly pod: string;
  readonly transitions: number;
  /** When this term began, by the leader's clock. */
  readonly acquiredAtMs: number;
}

/** Reads the controllers' Lease of a cluster. */
export const leaderLease = async (testbed: Testbed, cluster: string): Promise<LeaderLease> => {
  const args = ['get', 'lease', '-n', 'fluvia-system', 'fluvia-controller', '-o', 'json'];
  const { spec } = JSON.parse(await testbed.kubectl(cluster, args)) as {
    readonly spec: {
      readonly holderIdentity?: string;
      readonly leaseTransitions?: number;
      readonly acquireTime?: string;
    };
  };
  return {
    pod: spec.holderIdentity?.split('_')[0] ?? '',
    transitions: spec.leaseTransitions ?? 0,
    acquiredAtMs: Date.parse(spec.acquireTime ?? ''),
  };
};

/** The bar: somebody leads again so many seconds after a leader was lost. */
const TAKEOVER_SECONDS = 10;

/**
 * Seconds from the loss of a leader, whose Lease was `before`, to the first write of the next term. Whoever leads in it: the
 * same pod's next process waits for the Lease as the standby does, and may be the one. Throws when it took too long.
 */
export const takeover = async (
  testbed: Testbed,
  cluster: string,
  before: LeaderLease,
  lostAtMs: number,
): Promise<number> => {
  const next = await eventually(
    `another leader in ${cluster}`,
    async () => {
      const now = await leaderLease(testbed, cluster);
      return now.transitions > before.transitions && now.pod !== '' ? now : undefined;
    },
    60_000,
    250,
  );
  const seconds = (next.acquiredAtMs - lostAtMs) / 1000;
  if (seconds > TAKEOVER_SECONDS) {
    throw new Error(`nobody led in ${cluster} for ${seconds.toFixed(1)} s after ${before.pod} was lost`);
  }
  return seconds;
};
