import { expect } from 'vitest';
import { application } from '../demo/application.ts';
import { eventually, runCommand } from '../support/fluviactl.ts';
import { namespaceOpened } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** A pod of the application as home sees it. */
export interface AppPod {
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly ip: string;
  readonly ready: boolean;
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: {
      readonly podIP?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
      readonly containerStatuses?: readonly {
        readonly restartCount: number;
        readonly containerID?: string;
      }[];
    };
  }[];
}

const REPLICAS = { web: 6, backend: 3 };

/** The names of the pods that gave these answers. */
const namesIn = (answers: string): Set<string> =>
  new Set([...answers.matchAll(/pod=(\S+)/g)].map(([, name = '']) => name));

/** The demo's application in a namespace of its own, opened to the fabric, and what must be true of it. */
export const offloadedApp = () => {
  const namespace = 'shop';
  const client = 'client';

  const list = async (testbed: Testbed, cluster: string): Promise<PodList> =>
    JSON.parse(
      await testbed.kubectl(cluster, [
        'get',
        'pods',
        '-n',
        namespace,
        '-l',
        'app in (web, backend)',
        '-o',
        'json',
      ]),
    ) as PodList;

  const podsOf = async (testbed: Testbed, cluster: string): Promise<AppPod[]> =>
    (await list(testbed, cluster)).items
      .filter((pod) => pod.metadata.deletionTimestamp === undefined)
      .map((pod) => ({
        name: pod.metadata.name,
        uid: pod.metadata.uid,
        node: pod.spec.nodeName ?? '',
        ip: pod.status.podIP ?? '',
        ready: pod.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false,
      }));

  const isRemote = (pod: AppPod): boolean => pod.node.startsWith('fluvia-');
  const remotePods = async (testbed: Testbed, home: string): Promise<AppPod[]> =>
    (await podsOf(testbed, home)).filter((pod) => isRemote(pod) && pod.name.startsWith('web-'));

  return {
    namespace,

    async open(testbed: Testbed, home: string, clusters: readonly string[]): Promise<void> {
      expect(clusters).toContain(home);
      await testbed.kubectl(home, ['create', 'namespace', namespace]);
      await testbed.kubectl(home, ['label', 'namespace', namespace, 'fluvia.dev/offload=true']);
      await namespaceOpened(testbed, home, namespace, 60_000);
      await testbed.kubectl(home, ['apply', '-n', namespace, '-f', '-'], { input: application(REPLICAS) });
      await testbed.kubectl(home, [
        'run',
        client,
        '-n',
        'default',
        '--image=fluvia.local/tools:1',
        '--image-pull-policy=IfNotPresent',
        '--restart=Never',
        '--command',
        '--',
        'sleep',
        '86400',
      ]);
    },

    waitForPods(testbed: Testbed, home: string): Promise<AppPod[]> {
      return eventually(
        'all pods of the application Ready',
        async () => {
          const pods = await podsOf(testbed, home);
          const count = REPLICAS.web + REPLICAS.backend;
          if (pods.length === count && pods.every((pod) => pod.ready && pod.ip !== '')) {
            return pods;
          }
          throw new Error(
            pods.map((p) => `${p.name} ${p.node} ${p.ip} ${p.ready ? 'Ready' : 'not Ready'}`).join('; '),
          );
        },
        120_000,
        1000,
      );
    },

    /** Pod UIDs at home, and container IDs and restarts of the real pods at the peers: nothing was started anew. */
    async podIdentities(testbed: Testbed, home: string, peers: readonly string[]): Promise<string[]> {
      const identities = (await podsOf(testbed, home)).map((pod) => `${pod.name} ${pod.uid} ${pod.node}`);
      for (const peer of peers) {
        for (const pod of (await list(testbed, peer)).items) {
          const containers = pod.status.containerStatuses
            ?.map((c) => `${c.containerID ?? ''}/${c.restartCount}`)
            .join(',');
          identities.push(`${peer} ${pod.metadata.name} ${pod.metadata.uid} ${containers ?? ''}`);
        }
      }
      return identities.sort();
    },

    async checkReachable(testbed: Testbed, home: string): Promise<void> {
      await testbed.kubectl(home, ['wait', `pod/${client}`, '--for=condition=Ready', '--timeout=60s']);
      // each request on a connection of its own: that is what a Service spreads
      const curl = ['curl', '-sS', '--max-time', '5', '-H', 'Connection: close'];
      const get = (url: string): Promise<string> =>
        testbed.kubectl(home, ['exec', client, '--', ...curl, url]);
      await Promise.all(
        (await podsOf(testbed, home)).map(async (pod) => {
          expect(await get(`http://${pod.ip}:8080/`)).toContain(`pod=${pod.name} `);
        }),
      );
      const answers = namesIn(await get(`http://web.${namespace}/?n=[1-60]`));
      expect(answers.size).toBe(REPLICAS.web);
      // from each peer: the Service's name works there, and reaches pods wherever they run
      const seen = new Map<string, Set<string>>();
      await Promise.all(
        (await remotePods(testbed, home)).map(async (pod) => {
          const twelve = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- http://backend/ || exit 1; done';
          const answered = namesIn(
            await testbed.kubectl(home, ['exec', '-n', namespace, pod.name, '--', 'sh', '-c', twelve]),
          );
          seen.set(pod.node, (seen.get(pod.node) ?? new Set()).union(answered));
        }),
      );
      for (const [node, answered] of seen) {
        expect(
          [...answered].every((name) => name.startsWith('backend-')),
          node,
        ).toBe(true);
        expect(answered.size, `backends that answered at ${node}`).toBeGreaterThan(1);
      }
    },

    async checkLogsAndExec(testbed: Testbed, home: string): Promise<void> {
      const [pod] = await remotePods(testbed, home);
      expect(pod).toBeDefined();
      const name = pod?.name ?? '';
      expect(await testbed.kubectl(home, ['logs', '-n', namespace, name])).toContain(`pod=${name}`);
      const echoed = await testbed.kubectl(
        home,
        [
          'exec',
          '-i',
          '-n',
          namespace,
          name,
          '--',
          'sh',
          '-c',
          'read x; echo "got $x"; echo "$GREETING $PASSWORD"',
        ],
        {
          input: 'word\n',
        },
      );
      expect(echoed).toContain('got word');
      expect(echoed).toContain('hello from the shop correct horse');
      const marker = `marker-${Date.now()}`;
      let seenAt = 0;
      const stop = new AbortController();
      const following = runCommand(
        testbed.kubectlPath,
        ['logs', '-f', '--kubeconfig', testbed.kubeconfigPath(home), '-n', namespace, name, '--tail=1'],
        {
          signal: stop.signal,
          onLine: (line) => {
            if (line.includes(marker)) {
              seenAt = Date.now();
            }
          },
        },
      ).catch(() => undefined); // it is ended by the signal
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const askedAt = Date.now();
      await testbed.kubectl(home, [
        'exec',
        client,
        '--',
        'curl',
        '-sS',
        `http://${pod?.ip ?? ''}:8080/${marker}`,
      ]);
      await eventually(
        'the followed log shows the request',
        async () => (seenAt > 0 ? true : undefined),
        10_000,
        50,
      );
      stop.abort();
      await following;
      process.stdout.write(
        `kubectl logs -f showed the line ${seenAt - askedAt} ms after the request was started\n`,
      );
    },

    async checkKubeletRefusesStrangers(testbed: Testbed, home: string): Promise<void> {
      const nodes = JSON.parse(
        await testbed.kubectl(home, ['get', 'nodes', '-l', 'fluvia.dev/virtual-node=true', '-o', 'json']),
      ) as {
        items: {
          status: {
            addresses: { type: string; address: string }[];
            daemonEndpoints: { kubeletEndpoint: { Port: number } };
          };
        }[];
      };
      expect(nodes.items.length).toBeGreaterThan(0);
      for (const node of nodes.items) {
        const address = node.status.addresses.find((a) => a.type === 'InternalIP')?.address ?? '';
        const port = node.status.daemonEndpoints.kubeletEndpoint.Port;
        const answer = await testbed.kubectl(home, [
          'exec',
          client,
          '--',
          'curl',
          '-sk',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          `https://${address}:${port}/pods`,
        ]);
        expect(answer).toBe('401');
      }
    },

    async close(testbed: Testbed, home: string): Promise<void> {
      await testbed.kubectl(home, ['label', 'namespace', namespace, 'fluvia.dev/offload-']);
      await eventually(
        'the namespace is closed and its pods are at home',
        async () => {
          const pods = await podsOf(testbed, home);
          const all =
            pods.length === REPLICAS.web + REPLICAS.backend &&
            pods.every((pod) => pod.ready && !isRemote(pod));
          const left = await testbed.kubectl(home, [
            'get',
            'namespaceoffloadings',
            '-n',
            namespace,
            '-o',
            'name',
          ]);
          return all && left.trim() === '' ? true : undefined;
        },
        120_000,
        1000,
      );
      await testbed.kubectl(home, ['delete', 'namespace', namespace, '--timeout=60s']);
      await testbed.kubectl(home, ['delete', 'pod', client, '--wait=true', '--grace-period=1']);
    },
  };
};
