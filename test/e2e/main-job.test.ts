import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseCidr } from '../../api/cidr.ts';
import type { View } from '../../api/v1alpha1/view.ts';
import { containsJson } from '../../runtime/kube/apply.ts';
import { killTable, runKillDrill } from '../drills/kill-points.ts';
import { partitionTable, REDUCED_SIZE, runPartitionDrill } from '../drills/partition.ts';
import { peerClusters, prepareFluvia } from '../support/fabric.ts';
import { eventually, fluviactl, FLUVIACTL, runCommand } from '../support/fluviactl.ts';
import { SEED } from '../support/seed.ts';
import { fluviaPods, killPodProcesses, leaderLease, listProcesses, takeover } from '../support/processes.ts';
import { Testbed } from '../testbed/testbed.ts';
import { foreignCredentials } from './credentials.ts';
import {
  addressSeenBy,
  installAll,
  isolateApiServers,
  makeLabPods,
  pairsOf,
  planLab,
  reaches,
  removeLabPods,
  request,
  serverLog,
  tunnelBytes,
  type LabPod,
} from './lab.ts';
import { offloadedApp } from './offloaded-app.ts';
import {
  compareClusters,
  compareLines,
  snapshotCluster,
  snapshotNode,
  type ClusterSnapshot,
} from './snapshot.ts';
import { homeVolumeStory } from './home-volume-story.ts';
import { REDUCED_TIMES, volumeStory } from './volume-story.ts';

interface AgentSpec {
  readonly hostNetwork?: boolean;
  readonly containers: readonly {
    readonly name: string;
    readonly image?: string;
    readonly securityContext?: object;
    readonly volumeMounts?: readonly object[];
  }[];
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
}

const powersOf = ({ name, securityContext, volumeMounts }: AgentSpec['containers'][number]): object => ({
  name,
  securityContext,
  volumeMounts,
});

/** The image's tag is the build's. */
const withoutImages = (spec: AgentSpec): AgentSpec => ({
  ...spec,
  containers: spec.containers.map(({ image: _image, ...rest }) => rest),
});

/**
 * The main job on three real clusters, told in order: each test stands on the ones before it. The topology:
 *
 *     oak ── elm     names, order and view pools by seed; all pods in 10.244.0.0/16;
 *       \   /        one cluster has two nodes, with pods on both
 *        fir
 */
const plan = planLab(SEED);
const names = plan.clusters.map((c) => c.name);
const [home = '', east = '', west = ''] = names;
const TESTBED = `e2e-${process.pid}`;

let testbed: Testbed;
let image: string;
let pods: LabPod[];
const clusterSnapshots = new Map<string, { earlier: ClusterSnapshot; before: ClusterSnapshot }>();
const nodeSnapshots = new Map<string, string[]>();

const nodesOf = (cluster: string): string[] =>
  testbed.clusters.find((c) => c.name === cluster)?.nodes.map((n) => n.name) ?? [];
const snapshotOf = (cluster: string): Promise<ClusterSnapshot> =>
  snapshotCluster((args) => testbed.kubectl(cluster, args));
const nodeSnapshotOf = (cluster: string, node: string): Promise<string[]> =>
  snapshotNode(async (argv) => (await testbed.execNode(`${cluster}/${node}`, argv)).stdout);
const report = (line: string): void => void process.stdout.write(`${line}\n`);
const crossPairs = (): (readonly [LabPod, LabPod])[] =>
  pods.flatMap((from) => pods.filter((to) => to.cluster !== from.cluster).map((to) => [from, to] as const));

beforeAll(async () => {
  process.stdout.write(`seed ${SEED}: ${JSON.stringify(plan.clusters)}\n`);
  testbed = await Testbed.up({ name: TESTBED, clusters: plan.clusters, storage: true });
  image = await prepareFluvia(testbed, names);
  await isolateApiServers(testbed);
  // a node's CNI makes its bridge with the first pod and leaves it: it belongs to what was there before
  await makeLabPods(testbed);
  await removeLabPods(testbed);
  for (const cluster of names) {
    const earlier = await snapshotOf(cluster);
    clusterSnapshots.set(cluster, { earlier, before: earlier });
  }
  await new Promise((resolve) => setTimeout(resolve, 15_000)); // let what moves by itself show that it does
  for (const cluster of names) {
    clusterSnapshots.set(cluster, {
      earlier: clusterSnapshots.get(cluster)?.earlier ?? new Map(),
      before: await snapshotOf(cluster),
    });
    for (const node of nodesOf(cluster)) {
      nodeSnapshots.set(node, await nodeSnapshotOf(cluster, node));
    }
  }
});

afterAll(async () => {
  if (process.env.FLUVIA_KEEP !== '1') {
    await Testbed.down(TESTBED);
  }
});

describe('bad input', () => {
  const kubeconfig = (): string => testbed.kubeconfigPath(home);
  const failing = async (args: readonly string[]): Promise<string> => {
    const result = await runCommand(FLUVIACTL, args, { timeoutMs: 60_000 });
    expect(result.code, result.stdout).not.toBe(0);
    expect(result.stderr).not.toMatch(/\n\s+at /); // a reason, not a stack
    return result.stderr;
  };

  it('a kubeconfig that is not there: says so', async () => {
    expect(await failing(['info', '--kubeconfig', '/nonexistent/config'])).toMatch(/\/nonexistent\/config/);
  });

  it('an API server that does not answer: names it', async () => {
    const room = mkdtempSync(join(tmpdir(), 'fluvia-e2e-'));
    const file = join(room, 'config');
    const text = readFileSync(kubeconfig(), 'utf8').replace(/https:\/\/[\d.]+:6443/, 'https://127.0.0.1:1');
    writeFileSync(file, text, { mode: 0o600 });
    expect(await failing(['info', '--kubeconfig', file])).toMatch(/127\.0\.0\.1:1/);
    rmSync(room, { recursive: true });
  });

  it('a cluster without Fluvia: says how to install it', async () => {
    expect(
      await failing([
        'peer',
        '--kubeconfig',
        kubeconfig(),
        '--remote-kubeconfig',
        testbed.kubeconfigPath(east),
      ]),
    ).toMatch(/install/);
  });
});

describe('install', () => {
  it('brings up agents and controllers as pods of the real kubelets', async () => {
    await installAll(testbed, plan, image, names);
    pods = await makeLabPods(testbed);
    for (const cluster of names) {
      const agents = await fluviaPods(testbed, cluster, 'fluvia-agent');
      expect(agents.map((pod) => pod.node).sort()).toEqual(nodesOf(cluster).sort());
      expect(await fluviaPods(testbed, cluster, 'fluvia-controller')).toHaveLength(2);
    }
  });

  it('runs the agent with exactly the powers of deploy/agent.golden.yaml', async () => {
    const golden = parse(readFileSync('deploy/agent.golden.yaml', 'utf8')) as AgentSpec;
    for (const cluster of names) {
      const list = JSON.parse(
        await testbed.kubectl(cluster, ['get', 'daemonset', '-n', 'fluvia-system', '-o', 'json']),
      ) as { items: { spec: { template: { spec: AgentSpec } } }[] };
      expect(list.items).toHaveLength(1);
      const spec = list.items[0]?.spec.template.spec;
      expect(spec?.hostNetwork).toBe(true);
      expect(spec?.containers.map(powersOf)).toEqual(golden.containers.map(powersOf));
      expect(spec?.volumes.map((v) => v.hostPath?.path)).toEqual(golden.volumes.map((v) => v.hostPath?.path));
      expect(containsJson(spec, withoutImages(golden))).toBe(true);
    }
  });

  it('runs every fluviad process in a kubepods cgroup', async () => {
    for (const cluster of names) {
      for (const node of nodesOf(cluster)) {
        const ours = (await listProcesses(testbed, `${cluster}/${node}`)).filter((p) =>
          /fluviad|wireguard-go/.test(p.command),
        );
        expect(ours.length).toBeGreaterThan(0);
        expect(ours.filter((p) => !p.cgroup.includes('/kubepods'))).toEqual([]);
      }
    }
  });
});

describe('peering', () => {
  it('stands while no API server can be reached from another cluster', async () => {
    const serverOf = (name: string): string =>
      testbed.status().clusters.find((c) => c.name === name)?.server ?? '';
    await Promise.all(
      crossPairs().map(async ([from, to]) => {
        expect(await reaches(testbed, from, serverOf(from.cluster))).toBe(true);
        expect(await reaches(testbed, from, serverOf(to.cluster))).toBe(false);
      }),
    );
  });

  it('peers all three pairs by one command each', async () => {
    for (const [a, b] of pairsOf(plan)) {
      await peerClusters(testbed, a, b);
    }
    for (const [a, b] of pairsOf(plan)) {
      for (const [observer, peer] of [
        [a, b],
        [b, a],
      ] as const) {
        await testbed.kubectl(observer, ['wait', `peer/${peer}`, '--for=condition=Ready', '--timeout=60s']);
        await testbed.kubectl(observer, [
          'wait',
          `peer/${peer}`,
          '--for=condition=NetworkReady',
          '--timeout=60s',
        ]);
      }
    }
  });

  it('sees the peers through views of which at least two collide', async () => {
    const seen: string[] = [];
    for (const cluster of names) {
      const list = JSON.parse(await testbed.kubectl(cluster, ['get', 'views', '-o', 'json'])) as {
        items: View[];
      };
      seen.push(...list.items.flatMap((view) => view.spec.theirs.map((range) => range.view)));
    }
    seen.forEach((cidr) => expect(parseCidr(cidr).prefix).toBeLessThanOrEqual(32));
    expect(new Set(seen).size).toBeLessThan(seen.length);
  });

  it('an invite is refused after its time', async () => {
    const invite = (
      await fluviactl(['invite', '--kubeconfig', testbed.kubeconfigPath(home), '--expires', '1s'])
    ).trim();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const late = await runCommand(FLUVIACTL, ['join', '-', '--kubeconfig', testbed.kubeconfigPath(east)], {
      input: invite,
    });
    expect(late.code).not.toBe(0);
    expect(late.stderr).toMatch(/expired/i);
  });

  it('a cluster cannot peer with itself', async () => {
    const own = await runCommand(FLUVIACTL, [
      'peer',
      '--kubeconfig',
      testbed.kubeconfigPath(home),
      '--remote-kubeconfig',
      testbed.kubeconfigPath(home),
    ]);
    expect(own.code).not.toBe(0);
    expect(own.stderr).toMatch(/same|itself/i);
  });

  it('leaves no credentials for the other API server on either side', async () => {
    expect(await foreignCredentials(testbed, names)).toEqual([]);
  });
});

describe('network', () => {
  it('is closed before it is opened', async () => {
    await Promise.all(
      crossPairs().map(async ([from, to]) => {
        const address = await addressSeenBy(testbed, from.cluster, to);
        const tally = await request(testbed, from, address, { count: 1, timeoutSeconds: 1 });
        expect(tally.get('200') ?? 0, `${from.name} -> ${to.name}`).toBe(0);
      }),
    );
  });

  it('carries HTTP between all pods in every direction once NetworkConfig.spec.open says so', async () => {
    for (const cluster of names) {
      await testbed.kubectl(cluster, [
        'patch',
        'networkconfig',
        'default',
        '--type=merge',
        '-p',
        JSON.stringify({ spec: { open: [{ namespaces: ['lab'] }] } }),
      ]);
    }
    for (const [from, to] of crossPairs()) {
      const address = await addressSeenBy(testbed, from.cluster, to);
      await eventually(`${from.name} reaches ${to.name}`, async () => {
        const tally = await request(testbed, from, address, { count: 1, timeoutSeconds: 2 });
        return tally.get('200') === 1 ? true : undefined;
      });
      const tally = await request(testbed, from, address, { count: 100 });
      expect(Object.fromEntries(tally), `${from.name} -> ${to.name} at ${address}`).toEqual({ '200': 100 });
    }
  });

  it('shows the server the remapped source', async () => {
    for (const [from, to] of crossPairs()) {
      const source = await addressSeenBy(testbed, to.cluster, from);
      const lines = (await serverLog(testbed, to)).filter((line) => line.includes(`client=${source}:`));
      expect(lines.length, `${to.name} was asked by ${from.name} as ${source}`).toBeGreaterThanOrEqual(100);
    }
  });

  it('goes through WireGuard: its counters rise by at least the payload', async () => {
    const [from, to] = crossPairs()[0] as readonly [LabPod, LabPod];
    const payload = 2_000_000;
    const before = await tunnelBytes(testbed, from.cluster);
    const address = await addressSeenBy(testbed, from.cluster, to);
    const tally = await request(testbed, from, address, { count: 1, path: `/bytes/${payload}` });
    expect(tally.get('200')).toBe(1);
    expect((await tunnelBytes(testbed, from.cluster)) - before).toBeGreaterThanOrEqual(payload);
  });
});

describe('offloading', () => {
  const app = offloadedApp();

  it('floats pods over home and both peers by a label', async () => {
    await app.open(testbed, home, names);
    const rows = await app.waitForPods(testbed, home);
    const places = new Set(rows.map((pod) => (pod.node.startsWith('fluvia-') ? pod.node : home)));
    expect([...places].sort()).toEqual([`fluvia-${east}`, `fluvia-${west}`, home].sort());
  });

  it('answers at every pod and through the Service, from a pod at home and from pods at the peers', async () => {
    await app.checkReachable(testbed, home);
  });

  it('gives logs, follows them, and runs exec in a remote pod', async () => {
    await app.checkLogsAndExec(testbed, home);
  });

  it('serves the kubelet API to the API server only', async () => {
    await app.checkKubeletRefusesStrangers(testbed, home);
  });

  it('begins anew in the same container when the Lease is taken from the leader', async () => {
    const lease = await leaderLease(testbed, home);
    const pod = (await fluviaPods(testbed, home, 'fluvia-controller')).find((p) => p.name === lease.pod);
    if (pod === undefined) throw new Error(`no pod ${lease.pod} in ${home}`);
    const pids = async (): Promise<number[]> =>
      (await listProcesses(testbed, `${home}/${pod.node}`))
        .filter((p) => p.cgroup.includes(pod.uid) && p.command.includes('fluviad'))
        .map(({ pid }) => pid);
    const before = await pids();
    expect(before).toHaveLength(1);
    const takenAt = Date.now();
    const stranger = JSON.stringify({ spec: { holderIdentity: 'a stranger', leaseDurationSeconds: 1 } });
    const system = ['-n', 'fluvia-system'];
    await testbed.kubectl(home, [
      'patch',
      'lease',
      ...system,
      'fluvia-controller',
      '--type=merge',
      '-p',
      stranger,
    ]);
    await takeover(testbed, home, lease, takenAt);
    await eventually('it stands for election again', async () => {
      const log = await testbed.kubectl(home, ['logs', ...system, pod.name]);
      const anew = log.lastIndexOf('beginning anew');
      return anew !== -1 && /standing by|"leading"/.test(log.slice(anew)) ? true : undefined;
    });
    expect(await pids()).toEqual(before);
  });

  it('keeps the pods running when controllers and agents are killed', async () => {
    const before = await app.podIdentities(testbed, home, [east, west]);
    for (const cluster of [home, east]) {
      const lease = await leaderLease(testbed, cluster);
      const pod = (await fluviaPods(testbed, cluster, 'fluvia-controller')).find((p) => p.name === lease.pod);
      if (pod === undefined) throw new Error(`no pod ${lease.pod} in ${cluster}`);
      let killedAt = 0;
      const onKill = (): void => void (killedAt = Date.now());
      expect(await killPodProcesses(testbed, cluster, pod, /fluviad/, onKill)).toBeGreaterThan(0);
      await takeover(testbed, cluster, lease, killedAt);
      for (const agent of await fluviaPods(testbed, cluster, 'fluvia-agent')) {
        expect(await killPodProcesses(testbed, cluster, agent, /fluviad/)).toBeGreaterThan(0);
      }
    }
    await eventually(
      'the peers are Ready again',
      async () => {
        for (const peer of [east, west]) {
          await testbed.kubectl(home, ['wait', `peer/${peer}`, '--for=condition=Ready', '--timeout=5s']);
          await testbed.kubectl(home, [
            'wait',
            `node/fluvia-${peer}`,
            '--for=condition=Ready',
            '--timeout=5s',
          ]);
        }
        return true;
      },
      90_000,
    );
    expect(await app.podIdentities(testbed, home, [east, west])).toEqual(before);
    await app.waitForPods(testbed, home);
    await app.checkReachable(testbed, home);
  });

  it('comes home when the namespace is closed', async () => {
    await app.close(testbed, home);
    for (const peer of [east, west]) {
      const namespaces = await testbed.kubectl(peer, ['get', 'namespaces', '-o', 'name']);
      expect(namespaces).not.toContain(app.namespace);
    }
  });
});

describe('a peer that is lost with its pods', () => {
  it('others start elsewhere, no ordinal runs twice, and one of each is left on its return', async () => {
    const drill = { testbed, home, peer: west, how: 'partition', ...REDUCED_SIZE, report } as const;
    report(partitionTable([await runPartitionDrill(drill)]));
  });
});

describe('a volume', () => {
  let story: ReturnType<typeof volumeStory>;

  it('is made at a peer, by a real provisioner, where its pod runs', async () => {
    const names = { home, source: east, target: west };
    story = volumeStory({ testbed, ...names, how: 'partition', times: REDUCED_TIMES, report });
    await story.create();
  });

  it('is copied from filesystem snapshots', () => story.copy());
  it('moves as planned without losing a row', () => story.move());
  it('is taken over from its freshest copy when its peer is cut off', () => story.lose());
  it('goes back when the peer has returned, and keeps what that one wrote last', () => story.moveBack());
  it('goes with its claim, at every peer', () => story.remove());
});

describe('a volume at home', () => {
  it("is made by home's own class, moves to a peer and back without losing a row, goes with its claim", () =>
    homeVolumeStory({ testbed, home, peer: east, report }));
});

describe('kill -9 at seeded moments', () => {
  it('of peering, offloading and unpeering: the same state is reached', async () => {
    await fluviactl(['unpeer', east, '--kubeconfig', testbed.kubeconfigPath(home)]);
    report(
      killTable(
        await runKillDrill({ testbed, home, peer: east, steady: west, points: 3, seed: SEED, report }),
      ),
    );
  });
});

describe('the end', () => {
  it('unpeers and uninstalls and leaves nothing behind', async () => {
    await removeLabPods(testbed);
    for (const [a, b] of pairsOf(plan).filter((pair) => !(pair.includes(home) && pair.includes(east)))) {
      await fluviactl(['unpeer', b, '--kubeconfig', testbed.kubeconfigPath(a)]);
    }
    await Promise.all(
      names.map((name) => fluviactl(['uninstall', '--kubeconfig', testbed.kubeconfigPath(name), '--yes'])),
    );
    for (const cluster of names) {
      const { earlier, before } = clusterSnapshots.get(cluster) ?? { earlier: new Map(), before: new Map() };
      await eventually(
        `${cluster} is as before`,
        async () => {
          const differences = compareClusters(earlier, before, await snapshotOf(cluster));
          if (differences.length > 0) {
            throw new Error(differences.slice(0, 20).join('\n'));
          }
          return true;
        },
        60_000,
        3000,
      );
      for (const node of nodesOf(cluster)) {
        await eventually(
          `${node} is as before`,
          async () => {
            const differences = compareLines(
              nodeSnapshots.get(node) ?? [],
              await nodeSnapshotOf(cluster, node),
            );
            if (differences.length > 0) {
              throw new Error(differences.slice(0, 20).join('\n'));
            }
            return true;
          },
          90_000,
          3000,
        );
      }
    }
  });
});
