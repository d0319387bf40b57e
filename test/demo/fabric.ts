import { installFluvia, peerClusters, prepareFluvia } from '../support/fabric.ts';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import { CLIENT, CLUSTERS, HOME, ORDERS, PAIRS, SHOP, type Step } from './stage.ts';

/** Peers get a store, too: that is where copies of volumes go. */
const STORE = ['--object-store', '--object-store-size', '2Gi'] as const;

/** Three clusters become one fabric. */
export const makeFabric: readonly Step[] = [
  {
    title: 'Install Fluvia, as a user would',
    act: async ({ testbed, say }) => {
      const image = await prepareFluvia(testbed, CLUSTERS, (line) => say.output(line));
      const flags = (cluster: string): readonly string[] => (cluster === HOME ? [] : STORE);
      for (const cluster of CLUSTERS)
        say.command(['fluviactl install --cluster-name', cluster, ...flags(cluster)].join(' '));
      await Promise.all(CLUSTERS.map((cluster) => installFluvia(testbed, cluster, image, ...flags(cluster))));
      say.output('agents and controllers are Ready in all three, and a store for copies in both peers');
    },
  },
  {
    title: 'Peer all three pairs',
    act: async (stage) => {
      const { testbed, say } = stage;
      for (const [a, b] of PAIRS) {
        say.command(`fluviactl peer --kubeconfig ${a} --remote-kubeconfig ${b}`);
        await peerClusters(testbed, a, b, { onLine: (line) => say.output(line) });
      }
      await stage.kubectl(HOME, 'get', 'peers,nodes,views');
    },
  },
];

/** What must be gone: everything of Fluvia, and every volume. */
const leftIn = async (list: (kinds: string) => Promise<string>): Promise<readonly string[]> => {
  const ours = (await list('namespaces,crds,clusterroles,storageclasses'))
    .split('\n')
    .filter((line) => line.includes('fluvia') || [SHOP, ORDERS].some((name) => line.endsWith(`/${name}`)));
  const volumes = (await list('persistentvolumes')).split('\n').filter(Boolean);
  return [...ours, ...volumes];
};

/** The fabric is taken apart again. */
export const leaveFabric: Step = {
  title: 'Delete the applications, close the namespace, unpeer, uninstall: nothing is left',
  act: async (stage) => {
    const { testbed, say } = stage;
    await stage.atHome('delete', 'pods', CLIENT, 'writer', '--grace-period=1', '--wait=false');
    const data = ['statefulset/db', 'volumereplica/db', 'pvc/data-db-0'];
    await stage.kubectl(HOME, 'delete', '-n', ORDERS, ...data, '--timeout=90s');
    for (const namespace of [ORDERS, SHOP]) await stage.fluviactl(HOME, 'unoffload', 'namespace', namespace);
    await stage.kubectl(HOME, 'delete', 'namespace', ORDERS, SHOP, '--timeout=60s');
    for (const [a, b] of PAIRS) await stage.fluviactl(a, 'unpeer', b);
    say.command(`fluviactl uninstall --yes --kubeconfig ${CLUSTERS.join('|')}`);
    await Promise.all(
      CLUSTERS.map((cluster) =>
        fluviactl(['uninstall', '--kubeconfig', testbed.kubeconfigPath(cluster), '--yes'], {
          onLine: (line) => say.output(`${cluster}: ${line}`),
        }),
      ),
    );
    for (const cluster of CLUSTERS) {
      await eventually(
        `nothing of Fluvia is left in ${cluster}`,
        async () => {
          const left = await leftIn((kinds) => testbed.kubectl(cluster, ['get', kinds, '-o', 'name']));
          if (left.length > 0) throw new Error(`there still are ${left.join(', ')}`);
          return true;
        },
        30_000,
      );
      say.output(`${cluster}: nothing of Fluvia is left, and no volume`);
    }
  },
};
