import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isConditionTrue } from '../../api/conditions.ts';
import { NETWORK } from '../../api/collections.ts';
import type { Links } from '../../api/link.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../../api/v1alpha1/gateway.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { View } from '../../api/v1alpha1/view.ts';
import { seenAs } from '../../api/views.ts';
import { FABRIC_NODE, GATEWAY, NETWORK_CONFIG, OFFER, PEER, VIEW } from '../../network-fabric/kinds.ts';
import { startNetworkControllers } from '../../network-fabric/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { execTool } from '../../runtime/host/exec.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import { NODE, POD } from '../../runtime/kube/resources.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { startApiServer, type TestApiServer } from '../kube/apiserver.ts';
import { createFakeLinks, createFakePeer } from '../kube/fake-links.ts';
import { installKinds } from '../kube/provider-setup.ts';
import { ensureTool } from '../testbed/tools.ts';
import { createLab, request, type Lab, type LabNode, type LabPod } from './lab.ts';

/** Two clusters with an API server each, the real controllers and agents; only the link between them is in memory. */

interface Cluster {
  readonly name: string;
  readonly api: TestApiServer;
  readonly client: KubeClient;
  readonly nodes: readonly LabNode[];
  readonly access: string;
  readonly socket: string;
  readonly relay: Server;
}

const folder = mkdtempSync(join(tmpdir(), 'fluvia-fabric-'));
const stopControllers = new AbortController();
const agents = new Map<string, ChildProcess>();
const pods = new Map<string, LabPod>();
const before = new Map<string, string>();
let lab: Lab;
let clusters: Cluster[];

const snapshot = async (node: LabNode): Promise<string> =>
  (
    await Promise.all([
      node.exec('nft', ['-s', 'list', 'ruleset']),
      node.exec('ip', ['-o', 'link']),
      node.exec('ip', ['-4', '-o', 'addr']),
      node.exec('ip', ['-4', 'route', 'show', 'table', 'all']),
      node.exec('ip', ['-4', 'rule']),
      node.exec('wg', ['show']),
    ])
  )
    .join('\n---\n')
    .replaceAll(/state (?:UNKNOWN|UP)/g, '');

const eventually = async <T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  limitMs = 30_000,
): Promise<T> => {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
};

const makeCluster = async (name: string, nodes: readonly LabNode[]): Promise<Cluster> => {
  const api = await startApiServer();
  const client = createKubeClient(api.access);
  await installKinds(client);
  const access = join(folder, `${name}.json`);
  const { ca, cert, key } = api.access;
  writeFileSync(access, JSON.stringify({ ca, cert, key }), { mode: 0o600 });
  const socket = join(folder, `${name}.sock`);
  const relay = createServer((near) => {
    const far = connect(api.port, '127.0.0.1');
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(socket, resolve));
  for (const node of nodes) {
    const object = {
      metadata: { name: node.name },
      spec: { podCIDR: node.podRange, podCIDRs: [node.podRange] },
    };
    await client.create(NODE, object);
    const status = {
      addresses: [{ type: 'InternalIP', address: node.address }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'Test', message: '' }],
    };
    await client.patch(NODE, node.name, undefined, { status }, { type: 'merge', subresource: 'status' });
  }
  const spec = {
    podCIDRs: ['10.244.0.0/16'],
    serviceCIDRs: ['10.96.0.0/16'],
    externalCIDR: '10.70.0.0/16',
    viewPools: ['10.128.0.0/9'],
  };
  const manifest = { metadata: { name: 'default' }, spec };
  await client.apply(NETWORK_CONFIG, manifest, { fieldManager: 'test', force: true });
  return { name, api, client, nodes, access, socket, relay };
};

const control = async (cluster: Cluster, links: Links): Promise<void> => {
  const { signal } = stopControllers;
  const log = createLogger({ level: 'warn', fields: { cluster: cluster.name } });
  const deps = {
    client: cluster.client,
    informers: createInformerFactory(cluster.client, signal),
    clock: systemClock,
    log,
    metrics: createMetrics(),
    events: { record: () => undefined, flush: () => Promise.resolve() },
    clusterName: cluster.name,
    systemNamespace: 'fluvia-system',
    podName: 'test',
    podIP: '127.0.0.1',
    leaderTransitions: 0,
  };
  await startNetworkControllers(deps, links, cluster.name.repeat(26), signal);
};

const startAgent = (cluster: Cluster, node: LabNode, path = process.env['PATH'] ?? ''): void => {
  const script = join(import.meta.dirname, 'agent-process.ts');
  const argv = ['env', `PATH=${path}`, process.execPath, script, node.name, cluster.access, cluster.socket];
  const child = spawn('nsenter', [...node.enter, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(join(folder, `${node.name}.log`), { flags: 'a' });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  agents.set(node.name, child);
};

const killAgent = async (node: LabNode): Promise<void> => {
  const child = agents.get(node.name);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGKILL');
  await gone;
};

const addPod = async (cluster: Cluster, node: LabNode): Promise<void> => {
  const pod = await lab.pod(node, 5);
  pods.set(node.name, pod);
  const name = `web-${node.name}`;
  const spec = { nodeName: node.name, containers: [{ name: 'web', image: 'web' }] };
  await cluster.client.create(POD, { metadata: { name, namespace: 'default' }, spec });
  const status = { phase: 'Running', podIP: pod.address, podIPs: [{ ip: pod.address }] };
  await cluster.client.patch(POD, name, 'default', { status }, { type: 'merge', subresource: 'status' });
};

const other = (cluster: Cluster): Cluster => clusters.find((item) => item !== cluster) as Cluster;

const seen = async (from: Cluster, address: string): Promise<string> => {
  const view = await from.client.get<View>(VIEW, other(from).name);
  return seenAs(view?.spec.theirs ?? [], address) ?? '';
};

const podOf = (name: string): LabPod => pods.get(name) as LabPod;

beforeAll(async () => {
  const wireguard = (await ensureTool('wireguard')).files['wireguard-go'] ?? 'wireguard-go';
  lab = await createLab();
  const a1 = await lab.node('a1', 11, 0);
  const b1 = await lab.node('b1', 21, 0);
  const b2 = await lab.node('b2', 22, 1);
  await lab.connect([b1, b2]);
  // A network of a's own that no object names, where its first view would be.
  await a1.exec('ip', ['route', 'add', '10.128.0.0/16', 'via', b1.address]);
  clusters = await Promise.all([makeCluster('a', [a1]), makeCluster('b', [b1, b2])]);
  for (const cluster of clusters) {
    for (const node of cluster.nodes) {
      lab.wireguardContainer(node, wireguard);
      await addPod(cluster, node);
      before.set(node.name, await snapshot(node));
      startAgent(cluster, node);
    }
  }
  const [a, b] = clusters as [Cluster, Cluster];
  const atA = createFakePeer('b', 'b'.repeat(26), stopControllers.signal);
  const atB = createFakePeer('a', 'a'.repeat(26), stopControllers.signal);
  const pass = (from: typeof atA, to: typeof atA): void => {
    from.sent(NETWORK).onChange((id) => {
      const item = id === undefined ? undefined : from.sent(NETWORK).items.get(id);
      if (id !== undefined && item !== undefined) to.tell(NETWORK).set(id, item);
    });
  };
  pass(atA, atB);
  pass(atB, atA);
  await Promise.all([control(a, createFakeLinks([atA])), control(b, createFakeLinks([atB]))]);
}, 120_000);

afterAll(async () => {
  stopControllers.abort();
  for (const cluster of clusters ?? []) {
    for (const node of cluster.nodes) await killAgent(node);
    cluster.relay.close();
    await cluster.client.close();
    await cluster.api.stop();
  }
  await lab?.close();
  if (process.env['FLUVIA_KEEP_LOGS'] === undefined) rmSync(folder, { recursive: true, force: true });
  else console.log(`logs are in ${folder}`);
});

describe('controllers and agents of two clusters', () => {
  it('make the tunnel, and say when the peer answers through it', async () => {
    for (const cluster of clusters) {
      const peer = other(cluster);
      const spec = {
        clusterID: peer.name.repeat(26),
        pins: ['a'.repeat(64)],
        roles: ['Consumer', 'Provider'],
        endpoints: [],
      };
      const manifest = { metadata: { name: peer.name }, spec };
      await cluster.client.apply(PEER, manifest, { fieldManager: 'test', force: true });
    }
    for (const cluster of clusters) {
      await eventually(
        `NetworkReady of ${cluster.name}`,
        async () => {
          const peer = await cluster.client.get<Peer>(PEER, other(cluster).name);
          return isConditionTrue(peer?.status?.conditions, 'NetworkReady');
        },
        60_000,
      );
    }
    const [a] = clusters as [Cluster, Cluster];
    const gateway = await a.client.get<Gateway>(GATEWAY, 'a1');
    expect(gateway?.status?.implementation).toBe('wireguard-go');
    expect(gateway?.status?.peers?.[0]?.rttMilliseconds).toBeGreaterThan(0);
  });

  it('give no network to a peer that a node has a route to', async () => {
    const podView = async (cluster: Cluster): Promise<string | undefined> =>
      (await cluster.client.get<View>(VIEW, other(cluster).name))?.spec.theirs[0]?.view;
    const [a, b] = clusters as [Cluster, Cluster];
    expect([await podView(a), await podView(b)]).toEqual(['10.129.0.0/16', '10.128.0.0/16']);
    const node = await a.client.get<FabricNode>(FABRIC_NODE, 'a1');
    expect(node?.status?.networks).toContain('10.128.0.0/16');
  });

  it('let nothing through before it is opened', async () => {
    const [a] = clusters as [Cluster, Cluster];
    const address = await seen(a, podOf('b2').address);
    expect(await request(podOf('a1'), address, { timeoutMs: 500 })).toEqual(['failed']);
  });

  it('let pods of an opened namespace be reached once the gateway acknowledged the Offer', async () => {
    for (const cluster of clusters) {
      const open = [{ namespaces: ['default'], ports: [{ protocol: 'TCP', port: 8080 }] }];
      const body = { spec: { open } };
      await cluster.client.patch(NETWORK_CONFIG, 'default', undefined, body, { type: 'merge' });
      const gatewayName = cluster.nodes[0]?.name ?? '';
      await eventually(`acknowledgement of ${cluster.name}`, async () => {
        const offer = await cluster.client.get<Offer>(OFFER, `${other(cluster).name}-open-0`);
        const node = await cluster.client.get<FabricNode>(FABRIC_NODE, gatewayName);
        const acknowledged = node?.status?.acknowledgedOffers?.[offer?.metadata.name ?? ''] ?? 0;
        return (
          offer?.spec.addresses.length === cluster.nodes.length &&
          acknowledged >= (offer.metadata.generation ?? 0)
        );
      });
    }
    const [a, b] = clusters as [Cluster, Cluster];
    for (const [from, fromPod, toPod] of [
      [a, 'a1', 'b1'],
      [a, 'a1', 'b2'],
      [b, 'b1', 'a1'],
      [b, 'b2', 'a1'],
    ] as const) {
      const address = await seen(from, podOf(toPod).address);
      const source = await seen(other(from), podOf(fromPod).address);
      const answers = await request(podOf(fromPod), address, { count: 100 });
      expect(answers, `${fromPod} → ${toPod}`).toEqual(Array.from({ length: 100 }, () => source));
    }
  });

  it('keep the datapath while agents are dead, and take it up again as it is', async () => {
    const [a] = clusters as [Cluster, Cluster];
    const all = clusters.flatMap((cluster) => cluster.nodes.map((node) => ({ cluster, node })));
    const [a1] = a.nodes as [LabNode];
    const key = (await a1.exec('wg', ['show', 'fluvia0', 'public-key'])).trim();
    for (const { node } of all) await killAgent(node);
    const address = await seen(a, podOf('b2').address);
    expect(await request(podOf('a1'), address, { count: 20 })).not.toContain('failed');
    for (const { cluster, node } of all) startAgent(cluster, node);
    await eventually('a new heartbeat', async () => {
      const node = await a.client.get<FabricNode>(FABRIC_NODE, 'a1');
      return Date.now() - Date.parse(node?.status?.heartbeatAt ?? '') < 2000;
    });
    expect((await a1.exec('wg', ['show', 'fluvia0', 'public-key'])).trim()).toBe(key);
    expect(await request(podOf('a1'), address, { count: 20 })).not.toContain('failed');
  });

  it('name the tool that a node lacks, and recover when it is there', async () => {
    const b = clusters[1] as Cluster;
    const gatewayName = (await b.client.get<FabricNode>(FABRIC_NODE, 'b1'))?.spec.gateway;
    const unwell = b.nodes.find((node) => node.name !== gatewayName) as LabNode;
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    for (const tool of ['ip', 'bridge', 'wg']) {
      symlinkSync((await execTool('sh', ['-c', `command -v ${tool}`])).trim(), join(bin, tool));
    }
    const ready = async (status: string) => {
      const node = await b.client.get<FabricNode>(FABRIC_NODE, unwell.name);
      return node?.status?.conditions?.find((item) => item.type === 'Ready' && item.status === status);
    };
    await killAgent(unwell);
    startAgent(b, unwell, bin);
    const condition = await eventually('HostToolMissing', () => ready('False'));
    expect(condition.reason).toBe('HostToolMissing');
    expect(condition.message).toMatch(/^nft is not installed on this node: put nft into the PATH/);
    // What it can't look after any more still works.
    const [a] = clusters as [Cluster, Cluster];
    expect(await request(podOf('a1'), await seen(a, podOf(unwell.name).address))).not.toContain('failed');
    await killAgent(unwell);
    startAgent(b, unwell);
    await eventually('Ready', () => ready('True'));
  });

  it('take a peer away with everything that was for it', async () => {
    const [a] = clusters as [Cluster, Cluster];
    const [a1] = a.nodes as [LabNode];
    for (const cluster of clusters) await cluster.client.delete(PEER, other(cluster).name);
    await eventually('end of the View', async () => (await a.client.get(VIEW, 'b')) === undefined);
    await eventually('end of the Offer', async () => (await a.client.get(OFFER, 'b-open-0')) === undefined);
    await eventually('end of routes', async () => {
      const routes = await a1.exec('ip', ['-4', 'route', 'show', 'table', 'all', 'proto', '84']);
      const peers = await a1.exec('wg', ['show', 'fluvia0', 'peers']);
      return routes.trim() === '' && peers.trim() === '';
    });
    const table = await a1.exec('nft', ['list', 'map', 'ip', 'fluvia', 'in']);
    expect(table).not.toContain('elements');
  });

  it('leave the nodes as they were when the NetworkConfig is deleted', async () => {
    for (const cluster of clusters) await cluster.client.delete(NETWORK_CONFIG, 'default');
    for (const cluster of clusters) {
      for (const resource of [FABRIC_NODE, GATEWAY]) {
        await eventually(`end of ${resource.plural} of ${cluster.name}`, async () => {
          const { items } = await cluster.client.list(resource);
          return items.length === 0;
        });
      }
      for (const node of cluster.nodes) expect(await snapshot(node)).toBe(before.get(node.name));
    }
  });
});
