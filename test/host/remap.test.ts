import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seenAs } from '../../api/views.ts';
import { ensureTool } from '../testbed/tools.ts';
import { createCluster, type TestCluster } from './cluster.ts';
import { createLab, request, type Lab, type LabNode, type LabPod } from './lab.ts';

/** Three clusters with equal CIDRs, one of two nodes, joined by the real planners, adapters and wireguard-go. */

const SEED = Number(process.env['FLUVIA_SEED'] ?? Date.now() % 1000);
console.log(`FLUVIA_SEED=${SEED}`);

let lab: Lab;
let clusters: TestCluster[];
let pods: { readonly cluster: TestCluster; readonly pod: LabPod }[];
let before: Map<string, string>;

const snapshot = async (node: LabNode): Promise<string> => {
  const parts = [
    await node.exec('nft', ['-s', 'list', 'ruleset']),
    await node.exec('ip', ['-o', 'link']),
    await node.exec('ip', ['-4', 'addr']),
    await node.exec('ip', ['-4', 'route', 'show', 'table', 'all']),
    await node.exec('ip', ['rule']),
    await node.exec('ip', ['neigh', 'show', 'nud', 'permanent']),
    await node.exec('wg', ['show']),
    await node.exec('sh', ['-c', 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter']),
  ];
  return parts.join('\n---\n').replaceAll(/(?:valid|preferred)_lft \S+|state (?:UNKNOWN|UP)/g, '');
};

const exchange = (): void => {
  for (const cluster of clusters) {
    const others = clusters.filter((other) => other !== cluster);
    cluster.learn(new Map(others.map((other) => [other.name, other.publish(cluster.name)])));
  }
};

const syncAll = async (): Promise<number> => {
  let actions = 0;
  for (const cluster of clusters) actions += (await cluster.sync()).length;
  return actions;
};

/** Where `from` finds the pod. */
const addressOf = (from: TestCluster, to: TestCluster, pod: LabPod): string =>
  seenAs(from.views().get(to.name)?.spec.theirs ?? [], pod.address) ?? '';

const pairs = (): { from: (typeof pods)[number]; to: (typeof pods)[number] }[] =>
  pods.flatMap((from) => pods.filter((to) => to.cluster !== from.cluster).map((to) => ({ from, to })));

const dropped = async (node: LabNode, chain: string): Promise<number> => {
  const text = await node.exec('nft', ['list', 'chain', 'ip', 'fluvia', chain]);
  const counts = [...text.matchAll(/iifname "fluvia0" counter packets (\d+)/g)].map((match) =>
    Number(match[1]),
  );
  return counts.reduce((sum, count) => sum + count, 0);
};

beforeAll(async () => {
  const built = '/tmp/fluvia-bin/wireguard';
  const wireguard = existsSync(built) ? built : (await ensureTool('wireguard')).files['wireguard-go'];
  lab = await createLab();
  const a1 = await lab.node('a1', 11, 0);
  const b1 = await lab.node('b1', 21, 0);
  const b2 = await lab.node('b2', 22, 1);
  const c1 = await lab.node('c1', 31, 0);
  await lab.connect([b1, b2]);
  before = new Map();
  const podOf = new Map<LabNode, LabPod>();
  for (const node of [a1, b1, b2, c1]) {
    lab.wireguardContainer(node, wireguard ?? 'wireguard-go');
    podOf.set(node, await lab.pod(node, 5));
    before.set(node.name, await snapshot(node));
  }
  const pool = [`10.${128 + (SEED % 8) * 8}.0.0/13`];
  clusters = [
    createCluster('a', [a1], pool),
    createCluster('b', [b1, b2], [`10.${200 + (SEED % 3) * 8}.0.0/13`]),
    createCluster('c', [c1], pool),
  ];
  pods = clusters.flatMap((cluster) =>
    cluster.nodes.map((node) => ({ cluster, pod: podOf.get(node) as LabPod })),
  );
});

afterAll(() => lab.close());

describe('three clusters with equal CIDRs', () => {
  it('converge: tunnels come up, and a second round has nothing to do', async () => {
    exchange();
    await syncAll();
    exchange();
    await syncAll();
    exchange();
    await syncAll();
    expect(await syncAll()).toBe(0);
    for (const cluster of clusters) {
      const host = cluster.hosts.get(cluster.nodes[0]?.name ?? '');
      expect((await host?.wireguard())?.peers.length).toBe(2);
    }
    const views = clusters.map((cluster) =>
      [...cluster.views().values()].flatMap((view) => view.spec.theirs.map((range) => range.view)),
    );
    expect(views[0]).toEqual(views[2]);
  });

  it('refuse everything before something is opened', async () => {
    for (const { from, to } of pairs()) {
      const answer = await request(from.pod, addressOf(from.cluster, to.cluster, to.pod), { timeoutMs: 400 });
      expect(answer).toEqual(['failed']);
    }
  });

  it('answer from pod to pod in every direction once opened, and see the remapped source', async () => {
    for (const cluster of clusters) {
      for (const other of clusters.filter((item) => item !== cluster)) {
        const ports = cluster.name === 'a' ? {} : { ports: [{ protocol: 'TCP' as const, port: 8080 }] };
        cluster.offer(other.name, [{ cidr: '10.244.0.0/16', ...ports }]);
      }
    }
    await syncAll();
    for (const { from, to } of pairs()) {
      const answers = await request(from.pod, addressOf(from.cluster, to.cluster, to.pod), { count: 20 });
      const expected = addressOf(to.cluster, from.cluster, from.pod);
      expect(answers, `${from.pod.node.name} → ${to.pod.node.name}`).toEqual(
        Array.from({ length: 20 }, () => expected),
      );
    }
  });

  it("translate a node's own traffic to its external address", async () => {
    for (const { from, to } of pairs()) {
      const node = from.pod.node;
      const [answer] = await request(node, addressOf(from.cluster, to.cluster, to.pod));
      const external = from.cluster.externalAddress(node.name);
      const expected = seenAs(to.cluster.views().get(from.cluster.name)?.spec.theirs ?? [], external);
      expect(answer, `${node.name} → ${to.pod.node.name}`).toBe(expected);
    }
  });

  it('let a port that is not opened stay closed', async () => {
    const [a, b] = [pods[0], pods[2]];
    if (a === undefined || b === undefined) throw new Error('no pods');
    const answer = await request(a.pod, addressOf(a.cluster, b.cluster, b.pod), {
      port: 8081,
      timeoutMs: 400,
    });
    expect(answer).toEqual(['failed']);
  });

  it('drop unknown pairs of addresses that come out of the tunnel, and input to the node', async () => {
    const [a, b] = clusters;
    const nodeA = a?.nodes[0];
    const nodeB = b?.nodes[0];
    if (a === undefined || b === undefined || nodeA === undefined || nodeB === undefined)
      throw new Error('no nodes');
    const key = (await b.hosts.get(nodeB.name)?.wireguard())?.publicKey ?? '';
    const unknown = await dropped(nodeB, 'known');
    // A hostile peer: widens its allowed IPs, takes its own table away, sends to the node's real address.
    await nodeA.exec('wg', ['set', 'fluvia0', 'peer', key, 'allowed-ips', '0.0.0.0/0']);
    await nodeA.exec('nft', ['delete', 'table', 'ip', 'fluvia']);
    await nodeA.exec('ip', ['route', 'add', '10.244.1.5/32', 'dev', 'fluvia0', 'src', nodeA.address]);
    await request(nodeA, '10.244.1.5', { timeoutMs: 500 });
    // A source that b knows, a destination that isn't b's.
    const source = seenAs(b.views().get('a')?.spec.theirs ?? [], '10.244.0.5') ?? '';
    await nodeA.exec('ip', ['addr', 'add', `${source}/32`, 'dev', 'lo']);
    await nodeA.exec('ip', ['route', 'replace', '10.244.1.5/32', 'dev', 'fluvia0', 'src', source]);
    await request(nodeA, '10.244.1.5', { timeoutMs: 500 });
    expect(await dropped(nodeB, 'known')).toBeGreaterThan(unknown);
    // Known pair, but the gateway's own external address: only the probe port is open.
    const input = await dropped(nodeB, 'input');
    const gatewaySeen = seenAs(a.views().get('b')?.spec.theirs ?? [], b.externalAddress(nodeB.name)) ?? '';
    await nodeA.exec('ip', ['route', 'replace', `${gatewaySeen}/32`, 'dev', 'fluvia0', 'src', source]);
    await request(nodeA, gatewaySeen, { timeoutMs: 500 });
    const text = await nodeB.exec('nft', ['list', 'chain', 'ip', 'fluvia', 'input']);
    expect(text).toMatch(/iifname \{ "fluvia0", "fluvia-vx" \} counter packets [1-9]/);
    expect(input).toBe(0);
    await nodeA.exec('ip', ['addr', 'del', `${source}/32`, 'dev', 'lo']);
    await nodeA.exec('ip', ['route', 'del', '10.244.1.5/32', 'dev', 'fluvia0']).catch(() => undefined);
    await nodeA.exec('ip', ['route', 'del', `${gatewaySeen}/32`, 'dev', 'fluvia0']).catch(() => undefined);
  });

  it('drop VXLAN frames that a pod makes', async () => {
    const [, b1, b2] = pods;
    if (b1 === undefined || b2 === undefined) throw new Error('no pods');
    const send = `const s = require('dgram').createSocket('udp4'); let n = 0;
      for (const to of process.argv.slice(1)) s.send('x'.repeat(60), 8473, to, () => { if (++n === 2) s.close() })`;
    const targets = [b1.pod.node.address, b2.pod.node.address];
    await b2.pod.exec(process.execPath, ['-e', send, ...targets]);
    for (const chain of ['forward', 'input']) {
      const text = await b2.pod.node.exec('nft', ['list', 'chain', 'ip', 'fluvia', chain]);
      expect(text, `chain ${chain}`).toMatch(/udp dport 8473 .*counter packets [1-9]/);
    }
  });

  it('repair what was changed behind their back', async () => {
    expect(await syncAll()).toBeGreaterThan(0);
    expect(await syncAll()).toBe(0);
    const [a, c] = [pods[0], pods[3]];
    if (a === undefined || c === undefined) throw new Error('no pods');
    const expected = addressOf(c.cluster, a.cluster, a.pod);
    expect(await request(a.pod, addressOf(a.cluster, c.cluster, c.pod))).toEqual([expected]);
  });

  it('never send in clear text when the tunnel is gone', async () => {
    const [a, c] = [pods[0], pods[3]];
    if (a === undefined || c === undefined) throw new Error('no pods');
    const node = a.pod.node;
    await node.exec('ip', ['route', 'add', 'default', 'via', c.pod.node.address]);
    await node.exec('ip', ['link', 'delete', 'fluvia0']);
    const address = addressOf(a.cluster, c.cluster, c.pod);
    await expect(node.exec('ip', ['route', 'get', address])).rejects.toThrow(/unreachable|No route/i);
    await node
      .exec('ip', ['route', 'del', address.replace(/\.\d+\.\d+$/, '.0.0/16'), 'metric', '4294967294'])
      .catch(() => undefined);
    await request(a.pod, address, { timeoutMs: 500 });
    expect(await node.exec('nft', ['list', 'chain', 'ip', 'fluvia', 'egress'])).toMatch(/packets [1-9]/);
    await node.exec('ip', ['route', 'del', 'default']);
  });

  it('bring the tunnel back after wireguard-go died', async () => {
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await syncAll();
    exchange();
    await syncAll();
    expect(await syncAll()).toBe(0);
    const [a, c] = [pods[0], pods[3]];
    if (a === undefined || c === undefined) throw new Error('no pods');
    const expected = addressOf(c.cluster, a.cluster, a.pod);
    const answers = await request(a.pod, addressOf(a.cluster, c.cluster, c.pod), { timeoutMs: 8000 });
    expect(answers).toEqual([expected]);
  });

  it('leave nothing behind', async () => {
    for (const cluster of clusters) cluster.remove();
    await syncAll();
    for (const cluster of clusters) {
      for (const node of cluster.nodes) expect(await snapshot(node)).toBe(before.get(node.name));
    }
  });
});
