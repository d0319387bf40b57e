/**
 * A database on a volume of class fluvia: a writer of numbered rows, each on disk before the next, so that what is lost or
 * written twice shows.
 */
import { expect } from 'vitest';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** The claim of its StatefulSet's one pod, `db-0`. */
export const CLAIM = 'data-db-0';
export const ROWS_PER_SECOND = 5;

/** Row: number, start of the writer that wrote it, time. A writer goes on after the last whole row. */
const WRITER = [
  'start=$(date +%s)',
  'n=$(tail -n 1 /data/rows 2>/dev/null | cut -d " " -f 1)',
  'n=${n:-0}',
  'while :; do n=$((n+1)); echo "$n $start $(date +%s)" >> /data/rows; sync /data/rows; sleep 0.2; done',
].join('; ');

export interface Row {
  readonly n: number;
  readonly writer: string;
  readonly at: number;
}

/** Its StatefulSet. */
export const database = (namespace: string): object => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'db', namespace },
  spec: {
    serviceName: 'db',
    replicas: 1,
    selector: { matchLabels: { app: 'db' } },
    template: {
      metadata: { labels: { app: 'db' } },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'db',
            image: 'fluvia.local/busybox:1',
            command: ['/bin/sh', '-c', WRITER],
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
            resources: { requests: { cpu: '10m', memory: '8Mi' } },
          },
        ],
      },
    },
    volumeClaimTemplates: [
      {
        metadata: { name: 'data' },
        spec: {
          storageClassName: 'fluvia',
          accessModes: ['ReadWriteOnce'],
          resources: { requests: { storage: '100Mi' } },
        },
      },
    ],
  },
});

/** Every row once, in order: nothing is missing, and nobody wrote beside. */
export const expectWhole = (rows: readonly Row[]): void =>
  expect(rows.map(({ n }) => n)).toEqual(rows.map((_, index) => index + 1));

/** The database in a namespace of a home. */
export const openLedger = (testbed: Testbed, home: string, namespace: string) => {
  const ours = (...args: readonly string[]): Promise<string> =>
    testbed.kubectl(home, ['-n', namespace, ...args]);
  const rows = async (): Promise<readonly Row[]> =>
    (await ours('exec', 'db-0', '--', 'cat', '/data/rows'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [n, writer = '', at] = line.split(' ');
        return { n: Number(n), writer, at: Number(at) };
      });
  const isAt = (nodeName: string | undefined, place: string): boolean =>
    place === home
      ? nodeName !== undefined && !nodeName.startsWith('fluvia-')
      : nodeName === `fluvia-${place}`;
  return {
    ours,
    rows,

    /** Home's PersistentVolume of the claim. */
    async volume(): Promise<{
      readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
    }> {
      const name = await ours('get', 'pvc', CLAIM, '-o', 'jsonpath={.spec.volumeName}');
      const volume = JSON.parse(await testbed.kubectl(home, ['get', 'pv', name, '-o', 'json'])) as {
        metadata: { name: string; annotations?: Record<string, string> };
      };
      return { metadata: { ...volume.metadata, annotations: volume.metadata.annotations ?? {} } };
    },

    /** Waits for a pod that writes at `place`, another writer than that of `before`, and gives its rows. */
    async writesAt(place: string, before: readonly Row[], timeoutMs: number): Promise<readonly Row[]> {
      await eventually(
        `db-0 is Ready at ${place}`,
        async () => {
          const pod = JSON.parse(await ours('get', 'pod', 'db-0', '-o', 'json')) as {
            metadata: { deletionTimestamp?: string };
            spec: { nodeName?: string };
            status: { conditions?: { type: string; status: string; message?: string }[] };
          };
          const isReady = pod.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True');
          const isThere = isAt(pod.spec.nodeName, place);
          if (isReady === true && isThere && pod.metadata.deletionTimestamp === undefined) return true;
          throw new Error(`${pod.spec.nodeName ?? 'no node'}: ${JSON.stringify(pod.status.conditions)}`);
        },
        timeoutMs,
        250,
      );
      return eventually('rows are written', async () => {
        const list = await rows();
        return list.length > 0 && list.at(-1)?.writer !== before.at(-1)?.writer ? list : undefined;
      });
    },

    /** Moves the volume, and gives what fluviactl said. */
    move(to: string): Promise<string> {
      const cluster = ['--kubeconfig', testbed.kubeconfigPath(home)];
      return fluviactl(['move', 'volume', CLAIM, '-n', namespace, '--to', to, '--timeout', '4m', ...cluster]);
    },
  };
};
