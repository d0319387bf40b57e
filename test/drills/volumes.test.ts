import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureFluviaImage } from '../../deploy/image/build.ts';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import { Testbed } from '../testbed/testbed.ts';

/** A database's life on real clusters: made at a peer, copied, moved by hand, lost with its peer. Told in order. */
const NAME = 'vol-e2e';
const CLUSTERS = ['home', 'east', 'west'] as const;
let testbed: Testbed;

const kubectl = (cluster: string, ...args: readonly string[]): Promise<string> =>
  testbed.kubectl(cluster, args);
const apply = (cluster: string, ...items: readonly object[]): Promise<string> =>
  testbed.kubectl(cluster, ['apply', '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
  });
const config = (cluster: string): readonly string[] => ['--kubeconfig', testbed.kubeconfigPath(cluster)];
const shop = (...args: readonly string[]): Promise<string> => kubectl('home', '-n', 'shop', ...args);
const rows = async (): Promise<string[]> =>
  (await shop('exec', 'db-0', '--', 'cat', '/data/rows')).split('\n').filter((line) => line !== '');
const nodeOf = (pod: string): Promise<string> => shop('get', 'pod', pod, '-o', 'jsonpath={.spec.nodeName}');
const locationOf = (): Promise<string> =>
  kubectl('home', 'get', 'pv', '-o', 'jsonpath={.items[0].metadata.annotations.fluvia\\.dev/location}');

/** Writes a line every 200 ms; each is on disk before the next. */
const WRITER =
  'n=$(wc -l < /data/rows 2>/dev/null || echo 0); while :; do n=$((n+1)); echo "$n" >> /data/rows; sync /data/rows; sleep 0.2; done';

beforeAll(async () => {
  const image = await ensureFluviaImage();
  testbed = await Testbed.up({
    name: NAME,
    clusters: CLUSTERS.map((name) => ({ name, nodes: 1 })),
    storage: true,
  });
  await Promise.all(
    CLUSTERS.map(async (name) => {
      await testbed.load(name, image.archive);
      await fluviactl([
        'install',
        ...config(name),
        '--cluster-name',
        name,
        '--image',
        image.reference,
        ...(name === 'home' ? [] : ['--object-store', '--object-store-size', '2Gi']),
      ]);
    }),
  );
  const pairs = [
    ['home', 'east'],
    ['home', 'west'],
    ['east', 'west'],
  ] as const;
  for (const [a, b] of pairs)
    await fluviactl(['peer', ...config(a), '--remote-kubeconfig', testbed.kubeconfigPath(b)]);
});

afterAll(() => testbed?.down());

describe('a volume', () => {
  it('is made at a peer, by a real provisioner, where its pod runs', async () => {
    await kubectl('home', 'create', 'namespace', 'shop');
    await fluviactl(['offload', 'namespace', 'shop', ...config('home'), '--strategy', 'remote']);
    await apply('home', {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db', namespace: 'shop' },
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
    await shop('wait', 'pod/db-0', '--for=condition=Ready', '--timeout=90s');
    await eventually('rows are written', async () => ((await rows()).length > 5 ? true : undefined));
    const there = await locationOf();
    expect(await nodeOf('db-0')).toContain(there);
    expect(
      await kubectl(there, '-n', 'shop', 'get', 'pvc', 'data-db-0', '-o', 'jsonpath={.status.phase}'),
    ).toBe('Bound');
  });

  it('is copied from a filesystem snapshot, incrementally', async () => {
    await apply('home', {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'VolumeReplica',
      metadata: { name: 'db', namespace: 'shop' },
      spec: { claimName: 'data-db-0', peers: ['east', 'west'], intervalSeconds: 10 },
    });
    const points = await eventually('two points', async () => {
      const replica = JSON.parse(await shop('get', 'vr', 'db', '-o', 'json')) as {
        status?: { points?: { consistency: string }[] };
      };
      const found = replica.status?.points ?? [];
      return found.length >= 2 ? found : undefined;
    });
    expect(points.map(({ consistency }) => consistency)).toEqual(points.map(() => 'FilesystemSnapshot'));
  });

  it('moves as planned without losing a row', async () => {
    const from = await locationOf();
    const to = from === 'east' ? 'west' : 'east';
    const before = (await rows()).length;
    const stdout = await fluviactl([
      'move',
      'volume',
      'data-db-0',
      '-n',
      'shop',
      '--to',
      to,
      ...config('home'),
    ]);
    expect(stdout).toContain(`The volume is at ${to}`);
    await eventually('the pod runs there', async () =>
      (await nodeOf('db-0')).includes(to) ? true : undefined,
    );
    await shop('wait', 'pod/db-0', '--for=condition=Ready', '--timeout=90s');
    const after = await eventually('rows are read', async () => {
      const list = await rows();
      return list.length > before ? list : undefined;
    });
    // every row once, in order: nothing was lost, and nobody wrote meanwhile
    expect(after).toEqual(after.map((_, index) => String(index + 1)));
  });

  it('goes with its claim, at every peer', async () => {
    await shop('delete', 'statefulset', 'db');
    await shop('delete', 'vr', 'db');
    await shop('delete', 'pvc', 'data-db-0');
    await eventually('no placeholder is left', async () =>
      (await kubectl('home', 'get', 'pv', '-o', 'name')) === '' ? true : undefined,
    );
    for (const peer of ['east', 'west'])
      expect(await kubectl(peer, '-n', 'shop', 'get', 'pvc,job,secret', '-o', 'name')).not.toMatch(
        /data-db-0|mover/,
      );
  });
});
