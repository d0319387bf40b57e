import { namespaceOpened } from '../support/objects.ts';
import { application } from './application.ts';
import { CLIENT, HOME, SHOP, PEERS, type PodRow, type Stage, type Step } from './stage.ts';

const REPLICAS = { web: 6, backend: 3 } as const;

/** A web pod of each peer. */
const remotePods = async (stage: Stage): Promise<readonly PodRow[]> => {
  const pods = await stage.pods(SHOP, 'app=web');
  const remote = PEERS.flatMap((peer) => pods.find((pod) => pod.node === `fluvia-${peer}`) ?? []);
  if (remote.length < PEERS.length || !pods.some((pod) => pod.node.startsWith(`${HOME}-`))) {
    const where = pods.map((pod) => `${pod.name} on ${pod.node}`).join(', ');
    throw new Error(`the pods did not spread over all clusters: ${where}`);
  }
  return remote;
};

const CURL = ['curl', '-sS', '--max-time', '5'] as const;

/** A web application flows over the borders. */
export const runShop: readonly Step[] = [
  {
    title: `Open the namespace "${SHOP}" and deploy an application that knows nothing of Fluvia`,
    act: async (stage) => {
      await stage.atHome('create', 'namespace', SHOP);
      await stage.kubectl(HOME, 'label', 'namespace', SHOP, 'fluvia.dev/offload=true');
      await namespaceOpened(stage.testbed, HOME, SHOP);
      await stage.testbed.kubectl(HOME, ['apply', '-n', SHOP, '-f', '-'], {
        input: application(REPLICAS),
      });
      await stage.waitForPods(SHOP, 'app in (web, backend)', REPLICAS.web + REPLICAS.backend);
      await stage.kubectl(HOME, 'get', 'pods', '-n', SHOP, '-o', 'wide');
    },
  },
  {
    title: 'Curl from a pod at home: pods on both peers, and the Service',
    act: async (stage) => {
      const remote = await remotePods(stage);
      await stage.atHome(
        'run',
        CLIENT,
        '--image=fluvia.local/tools:1',
        '--restart=Never',
        '--image-pull-policy=IfNotPresent',
        '--command',
        '--',
        'sleep',
        '3600',
      );
      await stage.atHome('wait', `pod/${CLIENT}`, '--for=condition=Ready', '--timeout=60s');
      for (const { ip } of remote)
        await stage.kubectl(HOME, 'exec', CLIENT, '--', ...CURL, `http://${ip}:8080/`);
      const answers = new Set<string>();
      for (let i = 0; i < 12; i += 1) {
        const answer = await stage.atHome('exec', CLIENT, '--', ...CURL, `http://web.${SHOP}/`);
        answers.add(/pod=(\S+)/.exec(answer)?.[1] ?? answer.trim());
      }
      const names = [...answers].sort().join(', ');
      stage.say.output(`12 requests to http://web.${SHOP}/ were answered by ${answers.size} pods: ${names}`);
    },
  },
  {
    title: 'And from a pod at a peer: names of home work there, too',
    act: async (stage) => {
      const [pod] = await remotePods(stage);
      const wget = ['wget', '-qO-', 'http://backend/'];
      await stage.kubectl(HOME, 'exec', '-n', SHOP, pod?.name ?? '', '--', ...wget);
    },
  },
  {
    title: 'Logs of a pod that runs at a peer, read at home',
    act: async (stage) => {
      const pod = (await remotePods(stage)).at(-1);
      await stage.kubectl(HOME, 'logs', '-n', SHOP, pod?.name ?? '', '--tail=3');
    },
  },
];
