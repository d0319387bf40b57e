/**
 * `npm run demo`: the main job, end to end, on real Kubernetes. Sets up three clusters with equal CIDRs, peers them, opens
 * a namespace, lets an application flow over the borders, and removes everything again.
 *
 * `--keep` leaves it running and prints how to look around; `--name NAME` names the testbed.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '../../api/errors.ts';
import { prepareFluvia } from '../support/fabric.ts';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import { TestbedError } from '../testbed/errors.ts';
import { Testbed } from '../testbed/testbed.ts';
import { application } from './application.ts';
import { Narrator } from './narrator.ts';

const HOME = 'home';
const PEERS = ['east', 'west'] as const;
const CLUSTERS = [HOME, ...PEERS] as const;
const NAMESPACE = 'shop';
const REPLICAS = { web: 6, backend: 3 };

interface PodRow {
  readonly name: string;
  readonly ip: string;
  readonly node: string;
  readonly ready: boolean;
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: {
      readonly podIP?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  }[];
}

const listPods = async (testbed: Testbed, selector: string): Promise<PodRow[]> => {
  const list = JSON.parse(
    await testbed.kubectl(HOME, ['get', 'pods', '-n', NAMESPACE, '-l', selector, '-o', 'json']),
  ) as PodList;
  return list.items.map((pod) => ({
    name: pod.metadata.name,
    ip: pod.status.podIP ?? '',
    node: pod.spec.nodeName ?? '',
    ready: pod.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false,
  }));
};

const waitForPods = (testbed: Testbed): Promise<PodRow[]> =>
  eventually(
    'all pods Ready',
    async () => {
      const pods = await listPods(testbed, 'app in (web, backend)');
      const wanted = REPLICAS.web + REPLICAS.backend;
      return pods.length === wanted && pods.every((pod) => pod.ready && pod.ip !== '') ? pods : undefined;
    },
    120_000,
  );

const demo = async (testbed: Testbed, say: Narrator): Promise<void> => {
  const kubeconfig = (cluster: string): string => testbed.kubeconfigPath(cluster);
  const kubectl = async (cluster: string, ...args: readonly string[]): Promise<string> => {
    say.command(`kubectl --context ${cluster} ${args.join(' ')}`);
    const output = await testbed.kubectl(cluster, args);
    say.output(output);
    return output;
  };

  await say.step('Install Fluvia, as a user would', async () => {
    const image = await prepareFluvia(testbed, CLUSTERS, (line) => say.output(line));
    await Promise.all(
      CLUSTERS.map((cluster) =>
        fluviactl([
          'install',
          '--kubeconfig',
          kubeconfig(cluster),
          '--cluster-name',
          cluster,
          '--image',
          image,
          '--wait',
        ]),
      ),
    );
    say.output(
      `fluviactl install --cluster-name ${CLUSTERS.join('|')}: agents and controllers are Ready in all three`,
    );
  });

  await say.step('Peer all three pairs', async () => {
    for (const [a, b] of [
      [HOME, 'east'],
      [HOME, 'west'],
      ['east', 'west'],
    ] as const) {
      say.command(`fluviactl peer --kubeconfig ${a} --remote-kubeconfig ${b}`);
      await fluviactl(['peer', '--kubeconfig', kubeconfig(a), '--remote-kubeconfig', kubeconfig(b)], {
        onLine: (line) => say.output(line),
      });
    }
    await kubectl(HOME, 'get', 'peers,nodes,views');
  });

  await say.step(
    `Open the namespace "${NAMESPACE}" and deploy an application that knows nothing of Fluvia`,
    async () => {
      await testbed.kubectl(HOME, ['create', 'namespace', NAMESPACE]);
      await kubectl(HOME, 'label', 'namespace', NAMESPACE, 'fluvia.dev/offload=true');
      await testbed
        .kubectl(HOME, [
          'wait',
          '-n',
          NAMESPACE,
          '--for=condition=Ready',
          'namespaceoffloading/offloading',
          '--timeout=60s',
        ])
        .catch(async () => {
          // the object is made a moment after the label
          await eventually('the namespace is open', async () => {
            await testbed.kubectl(HOME, [
              'wait',
              '-n',
              NAMESPACE,
              '--for=condition=Ready',
              'namespaceoffloading/offloading',
              '--timeout=5s',
            ]);
            return true;
          });
        });
      await testbed.kubectl(HOME, ['apply', '-n', NAMESPACE, '-f', '-'], { input: application(REPLICAS) });
      await waitForPods(testbed);
      await kubectl(HOME, 'get', 'pods', '-n', NAMESPACE, '-o', 'wide');
    },
  );

  const pods = await listPods(testbed, 'app=web');
  const local = pods.find((pod) => pod.node.startsWith(`${HOME}-`));
  const remote = PEERS.map((peer) => pods.find((pod) => pod.node === `fluvia-${peer}`));
  if (local === undefined || remote.includes(undefined)) {
    throw new Error(
      `the pods did not spread over all clusters: ${pods.map((p) => `${p.name} on ${p.node}`).join(', ')}`,
    );
  }

  await say.step('Curl from a pod at home: pods on both peers, and the Service', async () => {
    const client = 'client';
    await testbed.kubectl(HOME, [
      'run',
      client,
      '--image=fluvia.local/tools:1',
      '--restart=Never',
      '--image-pull-policy=IfNotPresent',
      '--command',
      '--',
      'sleep',
      '3600',
    ]);
    await testbed.kubectl(HOME, ['wait', `pod/${client}`, '--for=condition=Ready', '--timeout=60s']);
    const curl = (url: string): Promise<string> =>
      kubectl(HOME, 'exec', client, '--', 'curl', '-sS', '--max-time', '5', url);
    for (const pod of remote) {
      await curl(`http://${pod?.ip ?? ''}:8080/`);
    }
    const answers = new Set<string>();
    for (let i = 0; i < 12; i += 1) {
      const answer = await testbed.kubectl(HOME, [
        'exec',
        client,
        '--',
        'curl',
        '-sS',
        '--max-time',
        '5',
        `http://web.${NAMESPACE}/`,
      ]);
      answers.add(/pod=(\S+)/.exec(answer)?.[1] ?? answer.trim());
    }
    say.output(
      `12 requests to http://web.${NAMESPACE}/ were answered by ${answers.size} pods: ${[...answers].sort().join(', ')}`,
    );
  });

  await say.step('And from a pod at a peer: names of home work there, too', async () => {
    const [pod] = remote;
    await kubectl(HOME, 'exec', '-n', NAMESPACE, pod?.name ?? '', '--', 'wget', '-qO-', 'http://backend/');
  });

  await say.step('Logs of a pod that runs at a peer, read at home', async () => {
    await kubectl(HOME, 'logs', '-n', NAMESPACE, remote[1]?.name ?? '', '--tail=3');
  });

  await say.step('Close the namespace, unpeer, uninstall: nothing is left', async () => {
    await fluviactl(['unoffload', 'namespace', NAMESPACE, '--kubeconfig', kubeconfig(HOME)]);
    await testbed.kubectl(HOME, ['delete', 'namespace', NAMESPACE, '--wait=true', '--timeout=60s']);
    for (const [a, b] of [
      [HOME, 'east'],
      [HOME, 'west'],
      ['east', 'west'],
    ] as const) {
      say.command(`fluviactl unpeer ${b} --kubeconfig ${a}`);
      await fluviactl(['unpeer', b, '--kubeconfig', kubeconfig(a)], { onLine: (line) => say.output(line) });
    }
    await Promise.all(
      CLUSTERS.map((cluster) => fluviactl(['uninstall', '--kubeconfig', kubeconfig(cluster), '--yes'])),
    );
    for (const cluster of CLUSTERS) {
      const left = await testbed.kubectl(cluster, ['get', 'namespaces,crds,clusterroles', '-o', 'name']);
      const ours = left.split('\n').filter((line) => line.includes('fluvia'));
      say.output(
        `${cluster}: ${ours.length === 0 ? 'nothing of Fluvia is left' : `LEFT: ${ours.join(', ')}`}`,
      );
      if (ours.length > 0) {
        throw new Error(`${cluster} still holds ${ours.join(', ')}`);
      }
    }
  });
};

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: { keep: { type: 'boolean', default: false }, name: { type: 'string', default: 'demo' } },
  });
  const say = new Narrator();
  let testbed: Testbed | undefined;
  let stopping = false;
  const cleanUp = async (): Promise<void> => {
    if (!stopping) {
      stopping = true;
      await Testbed.down(values.name, (line) => say.output(line));
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      say.output(`${signal}: cleaning up`);
      void cleanUp().finally(() => process.exit(130));
    });
  }
  try {
    await say.step('Set up: three real Kubernetes clusters with the same pod and service CIDRs', async () => {
      const clusters = CLUSTERS.map((name) => ({ name, nodes: name === 'east' ? 2 : 1 }));
      testbed = await Testbed.up({ name: values.name, clusters, report: (line) => say.output(line) });
    });
    if (testbed !== undefined) {
      await demo(testbed, say);
    }
  } catch (error) {
    if (!stopping) {
      const hint = error instanceof TestbedError ? ` ${error.next}` : '';
      process.stderr.write(`demo: ${messageOf(error)}.${hint}\n`);
      process.exitCode = 1;
    }
  }
  if (values.keep && !stopping) {
    say.output(
      `Kept. Look around: npm run testbed -- kubectl ${HOME} get pods -A   (add --name ${values.name})`,
    );
    say.output(`Take it away:      npm run testbed -- down --name ${values.name}`);
    return;
  }
  await cleanUp();
  say.end();
};

await main();
