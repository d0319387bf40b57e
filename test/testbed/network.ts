/**
 * Links of a testbed, all in namespaces of its own but one on the host for `kubectl`:
 *
 *     host ── flvS-host ─┐                       ┌─ c1n1 ── eth0 (namespace of node home-1, 198.18.S.11)
 *                        ├─ br0, namespace flvS-inet ─┼─ c2n1 ── eth0 (east-1, 198.18.S.21)
 *                        │  ("the internet")     └─ c2n2 ── eth0 (east-2, 198.18.S.22)
 */
import { existsSync } from 'node:fs';
import { run, tryRun } from './exec.ts';
import type { Journal } from './journal.ts';
import {
  POD_CIDR,
  SERVICE_CIDR,
  type ClusterPlan,
  type NodePlan,
  type TestbedPlan,
} from './plan-addresses.ts';
import { waitUntil } from './processes.ts';

const netnsFile = (name: string): string => `/run/netns/${name}`;

const ipBatch = (netns: string | undefined, lines: readonly string[]): Promise<string> =>
  run('ip', [...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
  });

const makeNetns = async (journal: Journal, name: string): Promise<void> => {
  journal.add({ kind: 'netns', name });
  if (!existsSync(netnsFile(name))) await run('ip', ['netns', 'add', name]);
};

/** The bridge, and the host's link to it. */
export const makeInternet = async (journal: Journal, plan: TestbedPlan): Promise<void> => {
  await makeNetns(journal, plan.internet);
  await ipBatch(plan.internet, ['link set lo up', 'link add br0 type bridge', 'link set br0 up']);
  journal.add({ kind: 'link', name: plan.hostLink });
  await ipBatch(undefined, [
    `link add ${plan.hostLink} type veth peer name host netns ${plan.internet}`,
    `addr add ${plan.hostIp}/24 dev ${plan.hostLink}`,
    `link set ${plan.hostLink} up`,
  ]);
  await ipBatch(plan.internet, ['link set host master br0 up']);
};

/** A node's namespace, its link, routes to its cluster's other nodes, and the masquerade of pods that leave. */
export const makeNodeNetwork = async (
  journal: Journal,
  plan: TestbedPlan,
  cluster: ClusterPlan,
  node: NodePlan,
): Promise<void> => {
  await makeNetns(journal, node.netns);
  await ipBatch(node.netns, [
    `link add eth0 address ${node.mac} type veth peer name ${node.port} netns ${plan.internet}`,
    `addr add ${node.ip}/24 dev eth0`,
    'link set lo up',
    'link set eth0 up',
    // without it a host-network pod, and the API server's webhook calls, can't reach a Service address
    `route add ${SERVICE_CIDR} dev eth0`,
    ...cluster.nodes
      .filter((other) => other.name !== node.name)
      .map((other) => `route add ${other.podCidr} via ${other.ip}`),
  ]);
  await ipBatch(plan.internet, [`link set ${node.port} master br0 up`]);
  await run('ip', [
    'netns',
    'exec',
    node.netns,
    'sysctl',
    '-qw',
    'net.ipv4.ip_forward=1',
    'net.ipv4.conf.all.rp_filter=0',
    'net.ipv4.conf.default.rp_filter=0',
  ]);
  await run('ip', ['netns', 'exec', node.netns, 'nft', '-f', '-'], {
    input: `table ip testbed-masquerade {
  chain post {
    type nat hook postrouting priority 100
    ip saddr ${POD_CIDR} ip daddr != 10.0.0.0/8 oifname "eth0" masquerade
  }
}
`,
  });
};

/** Takes a namespace away with everything in it, its port of the bridge first (the kernel clears namespaces late). */
export const removeNetns = async (name: string): Promise<void> => {
  if (!existsSync(netnsFile(name))) return;
  await waitUntil(async () => {
    await tryRun('ip', ['netns', 'del', name]);
    return !existsSync(netnsFile(name));
  }, 5000);
};

/** A node's network, as a crash would: the bridge's port, then the namespace. */
export const removeNodeNetwork = async (plan: TestbedPlan, node: NodePlan): Promise<void> => {
  await tryRun('ip', ['-n', plan.internet, 'link', 'del', node.port]);
  await removeNetns(node.netns);
};

/** A link of the host. Gone when this returns. */
export const removeLink = async (name: string): Promise<void> => {
  await waitUntil(async () => {
    if (!existsSync(`/sys/class/net/${name}`)) return true;
    await tryRun('ip', ['link', 'del', name]);
    return false;
  }, 5000);
};

/** Two clusters, or nodes, between which the underlay drops everything, both ways. */
export type Partition = readonly [string, string];

/** The bridge's rules for these partitions; the whole table at once, so that it can be set again and again. */
export const partitionRules = (plan: TestbedPlan, partitions: readonly Partition[]): string => {
  const ports = (name: string): string => {
    const nodes = plan.clusters.flatMap((cluster) =>
      cluster.nodes.filter((node) => cluster.name === name || node.name === name),
    );
    return `{ ${nodes.map((node) => `"${node.port}"`).join(', ')} }`;
  };
  const rules = partitions.flatMap(([a, b]) => [
    `    iifname ${ports(a)} oifname ${ports(b)} drop`,
    `    iifname ${ports(b)} oifname ${ports(a)} drop`,
  ]);
  return `table bridge partition
delete table bridge partition
table bridge partition {
  chain forward {
    type filter hook forward priority 0
${rules.join('\n')}
  }
}
`;
};

/** Sets the partitions in the running bridge. */
export const applyPartitions = async (plan: TestbedPlan, partitions: readonly Partition[]): Promise<void> => {
  await run('ip', ['netns', 'exec', plan.internet, 'nft', '-f', '-'], {
    input: partitionRules(plan, partitions),
  });
};
