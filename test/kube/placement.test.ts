import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NAMESPACES, SHADOW_STATUS, SHADOWS, TWINS } from '../../api/collections.ts';
import { FITS, type FitSlot } from '../../api/fits-collection.ts';
import { ANNOTATIONS, FLOAT_GATE, LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { createContext } from '../../cli/context.ts';
import type { Terminal } from '../../cli/output/terminal.ts';
import { runCli } from '../../cli/program.ts';
import { NETWORK_CONFIG, CLAIM } from '../../offloading/consumer/home.ts';
import { FLOAT_CONDITION } from '../../offloading/consumer/placement-controller.ts';
import { startConsumer } from '../../offloading/consumer/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { freePort } from '../support/free-port.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';
import { applyCrds, IDS, makeHomeNode, makePeer, makeWebhook, waitUntil } from './home-objects.ts';

/**
 * Best fit on a real API server and scheduler. The peers are in memory; each has fragmented real nodes onto which it puts
 * what it is sent, roomiest node first, and tells what is left. Told in order.
 */
const NS = 'shop';
const FLOAT_POLICY = resources.fluviaResource('FloatPolicy', 'floatpolicies', false);
const term = new AbortController();
const peers: FakePeer[] = [];
let server: TestApiServer;
let client: KubeClient;

/** Free cores of each peer's real nodes; the sums are what is granted. */
const NODES: Readonly<Record<string, readonly number[]>> = {
  east: [8, 4, 4, 2, 2, 2, 1, 1],
  west: [6, 6, 3, 3, 3, 1, 1, 1],
};
const sum = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0);

interface FakeNodes {
  /** Cores left on each node. */
  readonly free: number[];
  /** Pod → node's index, -1 while none has room. */
  readonly on: Map<string, number>;
  tell(): void;
}

const cpuOf = (spec: unknown): number => {
  const { containers } = spec as { containers: { resources: { requests: { cpu: string } } }[] };
  return Number(containers[0]?.resources.requests.cpu ?? 0);
};

/** The peer's scheduler, and its answers. */
const runNodes = (peer: FakePeer, isTold: boolean): FakeNodes => {
  const free = [...(NODES[peer.link.peer] ?? [])];
  const on = new Map<string, number>();
  const uids = new Map<string, string>();
  const shadows = peer.sent(SHADOWS);
  const tell = (): void => {
    if (!isTold) return;
    const slots = free
      .filter((cpu) => cpu > 0)
      .toSorted((a, b) => b - a)
      .map((cpu): FitSlot => ({
        free: { cpu: String(cpu), memory: '64Gi', pods: '50' },
        count: 1,
        labels: {},
      }));
    peer
      .tell(FITS)
      .set(peer.link.peer, { slots, omittedNodes: 0, counted: [...uids.values()], countedAll: true });
  };
  const schedule = (): void => {
    for (const [id, item] of shadows.items) {
      const known = on.get(id);
      if (known !== undefined && known >= 0) continue;
      const cpu = cpuOf(item.spec);
      const most = Math.max(...free);
      const index = most >= cpu ? free.indexOf(most) : -1;
      on.set(id, index);
      uids.set(id, item.uid);
      if (index >= 0) free[index] = most - cpu;
    }
  };
  shadows.onChange(() => {
    schedule();
    // As the real one: gathered, not at once.
    setTimeout(tell, 300);
  });
  schedule();
  tell();
  return { free, on, tell };
};

const podsOf = async (prefix: string): Promise<Pod[]> =>
  (await client.list<Pod>(resources.POD, { namespace: NS })).items.filter((pod) =>
    pod.metadata.name.startsWith(prefix),
  );

const makePod = (name: string, cpu: string, isGated: boolean): Promise<unknown> =>
  client.create(resources.POD, {
    metadata: { name, namespace: NS },
    spec: {
      containers: [{ name: 'c', image: 'x', resources: { requests: { cpu, memory: '64Mi' } } }],
      tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
      terminationGracePeriodSeconds: 0,
      ...(isGated ? { schedulingGates: [{ name: FLOAT_GATE }] } : {}),
    },
  } as never);

const start = async (): Promise<void> => {
  const log = createLogger({
    level: 'warn',
    write: (line) => process.env['FLUVIA_TEST_LOG'] && process.stderr.write(line),
  });
  const deps: ControllerDeps = {
    client,
    informers: createInformerFactory(client, term.signal),
    clock: systemClock,
    log,
    metrics: createMetrics(),
    events: { record: () => {}, flush: async () => {} },
    clusterName: 'home',
    systemNamespace: 'fluvia-system',
    podName: 'fluvia-controller-0',
    podIP: '127.0.0.1',
    leaderTransitions: 1,
  };
  peers.push(...Object.entries(IDS).map(([name, id]) => createFakePeer(name, id, term.signal)));
  await startConsumer(deps, createFakeLinks(peers), 'h'.repeat(26), term.signal);
};

beforeAll(async () => {
  server = await startControlPlane();
  client = createKubeClient(server.access);
  for (const name of ['fluvia-system', NS]) await client.create(resources.NAMESPACE, { metadata: { name } });
  await applyCrds(client);
  await client.create(NETWORK_CONFIG, {
    metadata: { name: 'default' },
    spec: { podCIDRs: ['10.244.0.0/16'] },
  } as never);
  await makeHomeNode(client);
  await makeWebhook(client);
  for (const name of Object.keys(IDS)) {
    await makePeer(client, name, await freePort());
    const granted = { cpu: String(sum(NODES[name] ?? [])), memory: '512Gi', pods: '200' };
    await client.patch(
      CLAIM,
      name,
      undefined,
      { status: { granted } },
      { type: 'merge', subresource: 'status' },
    );
  }
  await start();
  const labels = { [LABELS.offload]: 'true' };
  await client.patch(resources.NAMESPACE, NS, undefined, { metadata: { labels } }, { type: 'merge' });
  await waitUntil('both peers are asked', () => peers.every((peer) => peer.sent(NAMESPACES).items.has(NS)));
  for (const peer of peers) {
    peer.tell(TWINS).set(NS, { twin: NS, ready: true, reason: 'Ready', message: '' });
  }
}, 180_000);

afterAll(async () => {
  term.abort();
  await client?.close();
  await server?.stop();
});

/** Mixed sizes, large ones last as it happens in the worst case. Together more than there is. */
const SIZES = Array.from({ length: 60 }, (_, i) => [1, 1, 2, 1, 3, 1][i % 6] ?? 1);

/** Pods that got no real node though one has room for them, home's node included. */
const strandedOf = async (
  prefix: string,
  nodes: readonly FakeNodes[],
): Promise<{ pending: number; stranded: string[] }> => {
  const pods = await podsOf(prefix);
  const homeFree = 4 - sum(pods.filter((pod) => pod.spec.nodeName === 'n1').map((pod) => cpuOf(pod.spec)));
  const most = Math.max(homeFree, ...nodes.flatMap(({ free }) => free));
  const pending = pods.filter((pod) => {
    if (!pod.spec.nodeName) return true;
    const id = `${NS}/${pod.metadata.name}`;
    return pod.spec.nodeName !== 'n1' && nodes.every(({ on }) => (on.get(id) ?? -1) < 0);
  });
  const stranded = pending.filter((pod) => cpuOf(pod.spec) <= most);
  return {
    pending: pending.length,
    stranded: stranded.map((pod) => `${pod.metadata.name}:${cpuOf(pod.spec)}`),
  };
};

const settled = async (prefix: string): Promise<void> => {
  let last = '';
  let since = Date.now();
  await waitUntil(
    'nothing moves',
    async () => {
      const now = (await podsOf(prefix)).map((pod) => pod.spec.nodeName ?? '-').join();
      if (now !== last) [last, since] = [now, Date.now()];
      return Date.now() - since > 3000;
    },
    30_000,
  );
};

const removeAll = async (prefix: string): Promise<void> => {
  for (const { metadata } of await podsOf(prefix)) {
    await client.patch(
      resources.POD,
      metadata.name,
      NS,
      { metadata: { finalizers: null } },
      { type: 'merge' },
    );
    await client.delete(resources.POD, metadata.name, NS, { gracePeriodSeconds: 0 });
  }
};

/** The peers' nodes since ranking is on: east's, west's. */
let fitted: readonly FakeNodes[] = [];

describe('60 pods of mixed sizes over fragmented nodes', () => {
  it('with ranking off: what kube-scheduler does with the sums (shown, not judged)', async () => {
    const nodes = peers.map((peer) => runNodes(peer, false));
    await waitUntil('the grants are on the Nodes', async () => {
      const node = await client.get<{
        apiVersion: string;
        kind: string;
        metadata: { name: string };
        status?: { allocatable?: Record<string, string> };
      }>(resources.NODE, 'fluvia-east');
      return node?.status?.allocatable?.['cpu'] === String(sum(NODES['east'] ?? []));
    });
    await Promise.all(SIZES.map((cpu, i) => makePod(`off-${i}`, String(cpu), false)));
    await settled('off-');
    const { pending, stranded } = await strandedOf('off-', nodes);
    console.log(
      `ranking off: ${pending} of 60 have no real node, ${stranded.length} of them though one has room`,
    );
    expect(await podsOf('off-')).toHaveLength(60);
    await removeAll('off-');
    await waitUntil('they are gone', async () => (await podsOf('off-')).length === 0);
    await waitUntil('the peers heard it', () => peers.every((peer) => peer.sent(SHADOWS).items.size === 0));
  });

  it('with best fit none is pending while any real node has room for it', async () => {
    const nodes = peers.map((peer) => runNodes(peer, true));
    fitted = nodes;
    await Promise.all(SIZES.map((cpu, i) => makePod(`fit-${i}`, String(cpu), true)));
    await settled('fit-');
    const { pending, stranded } = await strandedOf('fit-', nodes);
    console.log(
      `best fit: ${pending} of 60 have no real node, ${stranded.length} of them though one has room`,
    );
    expect(stranded).toEqual([]);
    // None was sent to a peer that had no node for it.
    for (const { on } of nodes) expect([...on.values()].filter((index) => index < 0)).toEqual([]);
    const total = sum([4, ...Object.values(NODES).flat()]);
    const placed = (await podsOf('fit-')).filter((pod) => pod.spec.nodeName).map((pod) => cpuOf(pod.spec));
    console.log(`best fit: ${sum(placed)} of ${total} cores are taken`);
  });

  it('one that fits nowhere says what is missing where, and goes as soon as something fits', async () => {
    for (const pod of await podsOf('fit-')) {
      if (!pod.spec.nodeName)
        await client.delete(resources.POD, pod.metadata.name, NS, { gracePeriodSeconds: 0 });
    }
    await makePod('big', '5', true);
    const messageOf = async (): Promise<string> =>
      (await client.get<Pod>(resources.POD, 'big', NS))?.status?.conditions?.find(
        (c) => c.type === FLOAT_CONDITION,
      )?.message ?? '';
    await waitUntil('it is told', async () => (await messageOf()) !== '');
    expect(await messageOf()).toMatch(/this cluster: needs 5 cpu, largest free node has \d/);
    expect(await messageOf()).toMatch(/east: .*needs 5 cpu/);
    const record = JSON.parse(
      (await client.get<Pod>(resources.POD, 'big', NS))?.metadata.annotations?.[ANNOTATIONS.placement] ??
        '{}',
    ) as { rejected: Record<string, string> };
    expect(Object.keys(record.rejected).toSorted()).toEqual(['@home', 'east', 'west']);
    // West grows: more is granted, and a node of it has room.
    const granted = { cpu: '40', memory: '512Gi', pods: '200' };
    await client.patch(
      CLAIM,
      'west',
      undefined,
      { status: { granted } },
      { type: 'merge', subresource: 'status' },
    );
    const begun = Date.now();
    fitted[1]?.free.push(16);
    fitted[1]?.tell();
    await waitUntil('it is bound', async () => {
      const pod = await client.get<Pod>(resources.POD, 'big', NS);
      return pod?.spec.nodeName === 'fluvia-west';
    });
    console.log(`bound ${Date.now() - begun} ms after there was room`);
  });

  it('weights out of range are refused', async () => {
    const policy = (weights: Record<string, number>) =>
      client.create(FLOAT_POLICY, { metadata: { name: 'default' }, spec: { weights } } as never);
    for (const bad of [{ room: 101 }, { spread: -1 }, { data: 0.5 }]) {
      await expect(policy(bad)).rejects.toMatchObject({ status: 422 });
    }
    await policy({ room: 100, price: 0 });
    await client.delete(FLOAT_POLICY, 'default');
  });

  it('fluviactl explain says why there, and why nowhere', async () => {
    await makePod('giant', '99', true);
    await waitUntil('it is told', async () => {
      const pod = await client.get<Pod>(resources.POD, 'giant', NS);
      return pod?.status?.conditions?.some((c) => c.type === FLOAT_CONDITION) ?? false;
    });
    await client.create(resources.DEPLOYMENT, {
      metadata: { name: 'fluvia-controller', namespace: 'fluvia-system' },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'x' } },
        template: { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'c', image: 'x' }] } },
      },
    } as never);
    const explain = async (...argv: readonly string[]): Promise<string> => {
      let out = '';
      let err = '';
      const terminal: Terminal = {
        out: (text) => void (out += text),
        err: (text) => void (err += text),
        isInteractive: false,
        style: (_, text) => text,
      };
      const signal = new AbortController().signal;
      const cli = createContext({
        terminal,
        env: {},
        signal,
        program: 'fluviactl',
        readInput: async () => '',
      });
      const code = await runCli(['explain', 'pod', ...argv, '--kubeconfig', server.kubeconfig], cli);
      return code === 0 ? out : `exit ${code}: ${err}`;
    };
    const big = await explain(`${NS}/big`);
    console.log(big);
    expect(big).toMatch(
      /^pod shop\/big has not started yet at west, node fluvia-west: the only place that fits$/m,
    );
    expect(big).toMatch(/spread +\+\d+\.\d {2}(none|\d+) alike there/);
    expect(big).toMatch(/this cluster: needs 5 cpu, largest free node has \d/);
    const giant = await explain(`${NS}/giant`);
    console.log(giant);
    expect(giant).toContain('fits nowhere; it goes as soon as something fits');
    expect(giant).toMatch(/east: .*needs 99 cpu/);
    const data = JSON.parse(await explain(`${NS}/giant`, '-o', 'json')) as {
      state: string;
      rejected: unknown[];
    };
    expect(data).toMatchObject({ state: 'waiting' });
    expect(data.rejected).toHaveLength(3);
    expect(await explain(`${NS}/off-none`)).toMatch(/exit 1: Error: there is no pod shop\/off-none\nNext: /);
    await client.delete(resources.POD, 'giant', NS, { gracePeriodSeconds: 0 });
  });

  it('one for which its peer has no node after all is made again elsewhere', async () => {
    const container = { name: 'c', image: 'x', resources: { requests: { cpu: '2', memory: '64Mi' } } };
    await client.create(resources.DEPLOYMENT, {
      metadata: { name: 'moved', namespace: NS },
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: 'moved' } },
        template: {
          metadata: { labels: { app: 'moved' } },
          spec: {
            containers: [container],
            tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
            schedulingGates: [{ name: FLOAT_GATE }],
          },
        },
      },
    } as never);
    const at = async (node: string): Promise<Pod | undefined> =>
      (await podsOf('moved-')).find((pod) => pod.spec.nodeName === node);
    await waitUntil('it is at west', async () => (await at('fluvia-west')) !== undefined);
    const [east, west] = peers;
    const granted = { cpu: '40', memory: '512Gi', pods: '200' };
    await client.patch(
      CLAIM,
      'east',
      undefined,
      { status: { granted } },
      { type: 'merge', subresource: 'status' },
    );
    fitted[0]?.free.push(4);
    fitted[0]?.tell();
    const { name, uid = '' } = (await at('fluvia-west'))?.metadata ?? { name: '' };
    const conditions = [
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/9 nodes are available' },
    ];
    await waitUntil('west heard of it', () => west?.sent(SHADOWS).items.has(`${NS}/${name}`) ?? false);
    west
      ?.tell(SHADOW_STATUS)
      .set(`${NS}/${name}`, { uid, state: 'accepted', status: { phase: 'Pending', conditions } });
    await waitUntil('it is made again at east', async () => (await at('fluvia-east')) !== undefined, 25_000);
    await waitUntil('east heard of it', () =>
      [...(east?.sent(SHADOWS).items.keys() ?? [])].some((id) => id.startsWith(`${NS}/moved-`)),
    );
  });
});

describe('a bare pod that its peer refuses for now', () => {
  it('waits there and says why, and runs once the peer has room', async () => {
    const [east] = peers;
    const id = `${NS}/single`;
    await client.create(resources.POD, {
      metadata: { name: 'single', namespace: NS },
      spec: {
        nodeName: 'fluvia-east',
        containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '1' } } }],
        tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
      },
    } as never);
    await waitUntil('the peer hears of it', async () => east?.sent(SHADOWS).items.has(id) === true);
    const { uid = '' } = east?.sent(SHADOWS).items.get(id) ?? {};
    const status = async () => (await client.get<Pod>(resources.POD, 'single', NS))?.status;
    const refused = { uid, state: 'refused', reason: 'QuotaExceeded', message: 'cpu: 1 needed' } as const;
    east?.tell(SHADOW_STATUS).set(id, { ...refused, passing: true });
    await waitUntil('it says why', async () => (await status())?.['reason'] === 'QuotaExceeded');
    const message = 'peer east has it wait: cpu: 1 needed';
    expect(await status()).toMatchObject({ phase: 'Pending', message });
    expect((await status())?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Ready', status: 'False', reason: 'QuotaExceeded', message }),
    );
    // it is still asked for: the peer tries it again by itself
    expect(east?.sent(SHADOWS).items.has(id)).toBe(true);
    east?.tell(SHADOW_STATUS).set(id, { uid, state: 'accepted', status: { phase: 'Running' } });
    await waitUntil('it runs', async () => (await status())?.phase === 'Running');
    expect((await status())?.['reason']).toBeUndefined();
  });
});
