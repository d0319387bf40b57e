import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TWINS } from '../../api/collections.ts';
import { LABELS } from '../../api/labels.ts';
import {
  STORE,
  TOKEN_REQUESTS,
  TOKENS,
  TRANSFER_STATUS,
  TRANSFERS,
  VOLUME_STATUS,
  VOLUMES,
} from '../../api/storage-collections.ts';
import type { VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { startStorage } from '../../storage-fabric/start.ts';
import { volumeIdOf } from '../../storage-fabric/volumes/volume-id.ts';
import { createFakeLinks, type FakePeer } from './fake-links.ts';
import { PEER } from './provider-setup.ts';
import { runIn } from './run-cli.ts';
import { setUpStorage, until, type StorageStage } from './storage-stage.ts';

/**
 * What people get wrong about volumes, on a real control plane: each gets a clear word with a next step, moves nothing, and
 * is well again once it is mended. Volume `db` is at east, in use by `db-0`; west has a store.
 */
const REPLICA = resources.fluviaResource('VolumeReplica', 'volumereplicas', true);
const POLICY = resources.fluviaResource('FloatPolicy', 'floatpolicies', false);
const TWIN = { twin: 'shop', ready: true, reason: 'Ready', message: '' };
const FULL = 'the object store could not write: no space left (make room in bucket b: enlarge its disk)';
const CREDENTIALS =
  'the object store could not list: Access Denied (put the right accessKey into the Secret)';

let stage: StorageStage;
let east: FakePeer;
let west: FakePeer;
let id = '';
let mend: readonly (() => Promise<unknown> | void)[] = [];

const store = (ready: boolean, message?: string) => ({
  address: '10.244.0.7',
  port: 9447,
  caCertificate: 'PEM',
  serverName: 'store.fluvia',
  ready,
  ...(message === undefined ? {} : { message }),
});
const setPeer = (name: string, spec: object): Promise<unknown> =>
  stage.admin.patch(PEER, name, undefined, { spec }, { type: 'merge' });
const cli = (...argv: readonly string[]) => runIn(stage.server.kubeconfig, argv);
const move = (claim: string, to: string) =>
  cli('move', 'volume', claim, '-n', 'shop', '--to', to, '--timeout', '30s');
const placeholder = () =>
  stage.admin.get<PersistentVolume>(resources.PERSISTENT_VOLUME, `fluvia-${id}`) as Promise<PersistentVolume>;
const annotations = async () => (await placeholder()).metadata.annotations ?? {};
const wish = (to: string): Promise<unknown> =>
  stage.admin.patch(
    resources.PERSISTENT_VOLUME_CLAIM,
    'db',
    'shop',
    { metadata: { annotations: { 'fluvia.dev/move-to': to } } },
    { type: 'merge' },
  );
const readyOf = async (name: string) =>
  (await stage.admin.get<VolumeReplica>(REPLICA, name, 'shop'))?.status?.conditions?.find(
    ({ type }) => type === 'Ready',
  );
const replicate = (name: string, claimName: string, peers: readonly string[], more: object = {}) =>
  stage.admin.create(REPLICA, {
    metadata: { name, namespace: 'shop' },
    spec: { claimName, peers, intervalSeconds: 10, ...more },
  } as never);
const isReady = (name: string, reason: string, says: RegExp): Promise<void> =>
  until(`${name} says ${reason}`, async () => {
    const ready = await readyOf(name);
    return ready?.reason === reason && says.test(ready.message);
  });

beforeAll(async () => {
  stage = await setUpStorage();
  ({ east, west } = stage);
  for (const peer of [east, west]) {
    peer.tell(VOLUME_STATUS).complete = true;
    peer.tell(VOLUMES).complete = true;
    peer.tell(TRANSFERS).complete = true;
  }
  west.tell(STORE).set('store', store(true));
  // what the CLI takes for an installation
  await stage.admin.create(resources.DEPLOYMENT, {
    metadata: { name: 'fluvia-controller', namespace: 'fluvia-system' },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'c' } },
      template: {
        metadata: { labels: { app: 'c' } },
        spec: {
          containers: [{ name: 'c', image: 'c', env: [{ name: 'FLUVIA_CLUSTER_NAME', value: 'home' }] }],
        },
      },
    },
  } as never);
  await startStorage(stage.deps, createFakeLinks([east, west]), 'h'.repeat(26), stage.signal);
  await stage.makeClaim('db');
  await stage.makePod('db-0', 'db', { [LABELS.peer]: 'east' }, true);
  await until('it is bound', async () => (await stage.nodeOfPod('db-0')) !== undefined);
  const { uid = '' } = (await stage.claimOf('db'))?.metadata ?? {};
  id = volumeIdOf(uid);
  east.tell(VOLUME_STATUS).set(id, { uid, phase: 'Bound', storageClass: 'plain', capacity: '1Gi' });
  await stage.makeClaim('other', 'shop', 'plain');
}, 180_000);
afterAll(() => stage?.tearDown());
afterEach(async () => {
  for (const step of mend) await step();
  mend = [];
});

/** Spoils something, and notes how to mend it. */
const spoil = async (
  does: () => Promise<unknown> | void,
  undo: () => Promise<unknown> | void,
): Promise<void> => {
  mend = [...mend, undo];
  await does();
};
/** A pause closes the link. */
const paused = (name: 'east' | 'west') =>
  spoil(
    async () => {
      stage[name].setUp(false);
      await setPeer(name, { paused: true });
    },
    async () => {
      await setPeer(name, { paused: false });
      stage[name].setUp(true);
    },
  );
const withStore = (item: ReturnType<typeof store> | undefined) =>
  spoil(
    () => (item === undefined ? west.tell(STORE).delete('store') : west.tell(STORE).set('store', item)),
    () => west.tell(STORE).set('store', store(true)),
  );
const cordoned = () =>
  spoil(
    () => setPeer('west', { cordoned: true }),
    () => setPeer('west', { cordoned: false }),
  );
const closed = () =>
  spoil(
    () => west.tell(TWINS).set('shop', { ready: false, reason: 'NameTaken', message: 'shop is taken there' }),
    () => west.tell(TWINS).set('shop', TWIN),
  );
const down = (peer: () => FakePeer) =>
  spoil(
    () => peer().setUp(false),
    () => peer().setUp(true),
  );
const nothing = (): Promise<void> => Promise.resolve();

describe('a field out of range', () => {
  it.each([
    [{ weights: { room: 101 } }, /weights\.room.*less than or equal to 100/s],
    [{ weights: { data: -1 } }, /weights\.data.*greater than or equal to 0/s],
    [{ weights: { rtt: 1.5 } }, /weights\.rtt/],
    [{ candidates: 0 }, /candidates/],
    [{ leaseSeconds: 1 }, /leaseSeconds.*greater than or equal to 5/s],
    [{ graceSeconds: -1 }, /graceSeconds/],
    [{ onLoss: 'hope' }, /onLoss.*"wait", "replace", "fence"/s],
  ])('of a FloatPolicy is refused: %j', async (spec, says) => {
    await expect(
      stage.admin.create(POLICY, { metadata: { name: 'default' }, spec } as never),
    ).rejects.toThrow(says);
    expect(await stage.admin.get(POLICY, 'default')).toBeUndefined();
  });

  it('of a FloatPolicy that holds for nothing is refused, too', async () => {
    await expect(
      stage.admin.create(POLICY, { metadata: { name: 'mine' }, spec: {} } as never),
    ).rejects.toThrow(/named "default"/);
  });

  it.each([
    [{ intervalSeconds: -5 }, /intervalSeconds.*greater than or equal to 10/s],
    [{ intervalSeconds: 0 }, /intervalSeconds/],
    [{ intervalSeconds: 1e9 }, /intervalSeconds.*less than or equal to 604800/s],
    [{ keep: 0 }, /keep/],
    [{ maxAgeSeconds: -1 }, /maxAgeSeconds/],
    [{ intervalSeconds: 600, maxAgeSeconds: 60 }, /no copy would ever be fresh enough/],
    [{ peers: [] }, /peers/],
    [{ peers: ['No Name'] }, /peers/],
    [{ mode: 'Tepid' }, /mode.*"Cold"/s],
  ])('of a VolumeReplica is refused: %j', async (spec, says) => {
    await expect(replicate('bad', 'db', ['west'], spec)).rejects.toThrow(says);
    expect(await stage.admin.get(REPLICA, 'bad', 'shop')).toBeUndefined();
  });
});

describe('a move that can not be', () => {
  const cases: readonly [string, () => Promise<void>, string, number, RegExp][] = [
    ['to where it is', nothing, 'east', 2, /is at east already/],
    ['to nobody', nothing, 'nobody', 1, /there is no peer "nobody".*peers are: east, west/s],
    ['to this cluster itself', nothing, 'home', 1, /not moved: .*home/],
    ['to a peer that does not answer', () => down(() => west), 'west', 1, /peer west does not answer/],
    ['to a paused peer', () => paused('west'), 'west', 1, /west is paused: set its spec\.paused to false/],
    ['to a cordoned peer', cordoned, 'west', 1, /takes no new pods: set its spec\.cordoned to false/],
    [
      'to a peer without a store',
      () => withStore(undefined),
      'west',
      1,
      /no object store: fluviactl install/,
    ],
    ['to a store with wrong credentials', () => withStore(store(false, CREDENTIALS)), 'west', 1, /accessKey/],
    ['to a full store', () => withStore(store(false, FULL)), 'west', 1, /enlarge its disk/],
    ['to where its namespace is not open', closed, 'west', 1, /not open at west \(shop is taken there\)/],
    ['from a paused peer', () => paused('east'), 'west', 1, /east, where the volume is, is paused/],
  ];
  it.each(cases)('%s is refused, and nothing is touched', async (_, spoiling, to, code, says) => {
    const before = await annotations();
    await spoiling();
    // the controllers' caches follow
    await new Promise((resolve) => setTimeout(resolve, 500));
    const outcome = await move('db', to);
    expect(outcome.err).toMatch(says);
    expect(outcome.err).toMatch(/^Next: {2}/m);
    expect(outcome.code).toBe(code);
    const { 'fluvia.dev/last-move': _last, ...after } = await annotations();
    const { 'fluvia.dev/last-move': _before, ...untouched } = before;
    expect(after).toEqual(untouched);
    expect((await stage.claimOf('db'))?.metadata.annotations?.['fluvia.dev/move-to']).toBeUndefined();
    const pod = await stage.admin.get<Pod>(resources.POD, 'db-0', 'shop');
    expect(pod?.metadata.deletionTimestamp).toBeUndefined();
  });

  it.each([
    ['none', 1, /there is no PersistentVolumeClaim none in namespace shop/],
    ['other', 2, /claim other is of class plain.*only volumes of class fluvia/s],
  ])('of claim %s is an error', async (claim, code, says) => {
    const outcome = await move(claim, 'west');
    expect([outcome.code, outcome.err]).toEqual([code, expect.stringMatching(says)]);
  });

  it('by a pod that nobody would start again says which', async () => {
    await stage.makePod('solo', 'db', { [LABELS.peer]: 'east' });
    await until('it is bound', async () => (await stage.nodeOfPod('solo')) !== undefined);
    const outcome = await move('db', 'west');
    expect([outcome.code, outcome.err]).toEqual([1, expect.stringContaining('pod solo uses it')]);
    await stage.removePod('solo');
  });
});

describe('a VolumeReplica that can not be', () => {
  it('has no claim: it says so, also of a claim that comes later and is of another class', async () => {
    await replicate('none', 'late', ['west']);
    await isReady('none', 'NoVolume', /no PersistentVolumeClaim late in namespace shop/);
    await stage.makeClaim('late', 'shop', 'plain');
    await isReady('none', 'NoVolume', /late is of class plain: only volumes of class fluvia/);
    await stage.admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'late', 'shop');
    await until('it is gone', async () => (await stage.claimOf('late')) === undefined);
    await stage.makeClaim('late');
    await isReady('none', 'NoVolume', /late has no volume yet: it is made with the first pod/);
    await stage.admin.delete(REPLICA, 'none', 'shop');
  });

  it('was that of an earlier claim of the name: none of its copies counts for the new volume', async () => {
    const earlier = {
      peer: 'west',
      epoch: 4,
      sequence: 9,
      snapshotID: 'a'.repeat(64),
      treeHash: 'b'.repeat(64),
      consistency: 'Stopped',
      cutAt: '2026-11-25T02:59:30Z',
      bytesScanned: 1,
      bytesSent: 1,
    };
    await replicate('heir', 'heir', ['west'], { paused: true });
    await isReady('heir', 'NoVolume', /no PersistentVolumeClaim heir/);
    const status = { volume: volumeIdOf('earlier'), epoch: 4, location: 'east', points: [earlier] };
    await stage.admin.apply(REPLICA, { metadata: { name: 'heir', namespace: 'shop' }, status } as never, {
      fieldManager: 'fluvia-storage',
      subresource: 'status',
      force: true,
    });
    await stage.makeClaim('heir');
    const id = volumeIdOf((await stage.claimOf('heir'))?.metadata.uid ?? '');
    const said = async () => (await stage.admin.get<VolumeReplica>(REPLICA, 'heir', 'shop'))?.status;
    await until('it is about the new one', async () => (await said())?.volume === id);
    const { points = [], ...rest } = (await said()) ?? {};
    expect(points).toEqual([]);
    expect(rest).not.toMatchObject({ epoch: 4 });
    expect(rest).not.toMatchObject({ location: 'east' });
    await stage.admin.delete(REPLICA, 'heir', 'shop');
    await stage.admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'heir', 'shop');
  });

  it('keeps more points than its status could list is refused by the API server', async () => {
    await expect(replicate('many', 'db', ['east', 'west'], { keep: 487 })).rejects.toMatchObject({
      status: 422,
      message: expect.stringContaining('(keep + 14) for each peer') as string,
    });
    await replicate('many', 'none', ['east', 'west'], { keep: 486 });
    await stage.admin.delete(REPLICA, 'many', 'shop');
  });

  const cases: readonly [string, readonly string[], () => Promise<void>, string, RegExp][] = [
    ['to where the volume is', ['east'], nothing, 'NoTarget', /at east: name another peer/],
    ['to nobody', ['nobody'], nothing, 'UnknownPeer', /no peer nobody: kubectl get peers/],
    ['to no store', ['west'], () => withStore(undefined), 'NoStore', /west has no object store: fluviactl/],
    [
      'to a store with wrong credentials',
      ['west'],
      () => withStore(store(false, CREDENTIALS)),
      'NoStore',
      /Key/,
    ],
    ['to a paused peer', ['west'], () => paused('west'), 'PeerPaused', /spec\.paused to false/],
    ['of a paused peer', ['west'], () => paused('east'), 'SourcePaused', /spec\.paused to false/],
    ['of a silent peer', ['west'], () => down(() => east), 'SourceUnreachable', /east does not answer/],
  ];
  it.each(cases)('%s says so, and copies once that is mended', async (_, peers, spoiling, reason, says) => {
    await spoiling();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await replicate('db', 'db', peers);
    await isReady('db', reason, says);
    expect(west.sent(TOKEN_REQUESTS).items.size).toBe(0);
    for (const step of mend) await step();
    await stage.admin.patch(REPLICA, 'db', 'shop', { spec: { peers: ['west'] } }, { type: 'merge' });
    await until('a copy begins', () => west.sent(TOKEN_REQUESTS).items.size > 0);
    await stage.admin.delete(REPLICA, 'db', 'shop');
    await until('it is taken back', () => west.sent(TOKEN_REQUESTS).items.size === 0);
  });

  it('is the second of its claim: the older goes on, and gives way when it is deleted', async () => {
    await replicate('later-by-name', 'db', ['west']);
    await isReady('later-by-name', 'Copying', /no recovery point yet/);
    // creation times have whole seconds
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await replicate('a-name-before', 'db', ['west']);
    await isReady('a-name-before', 'Duplicate', /later-by-name copies claim db already.*delete this/);
    await isReady('later-by-name', 'Copying', /./);
    await stage.admin.delete(REPLICA, 'later-by-name', 'shop');
    await isReady('a-name-before', 'Copying', /./);
    await stage.admin.delete(REPLICA, 'a-name-before', 'shop');
    await until('it is taken back', () => west.sent(TOKEN_REQUESTS).items.size === 0);
  });

  it('fails in its copy shows the error of the store, tries on, and shows no error after the next that is whole', async () => {
    await replicate('db', 'db', ['west']);
    const run = async (action: string, status: object): Promise<void> => {
      const asked = () =>
        [...west.sent(TOKEN_REQUESTS).items.keys()].find((key) => key.includes(`-${action}-`));
      await until(`${action} is asked for`, () => asked() !== undefined, 30_000);
      const key = asked() ?? '';
      west.tell(TOKENS).set(key, { attempt: 0, token: 'secret', path: `/${'h'.repeat(26)}/${id}/` });
      await until(`${action} is ordered`, () => east.sent(TRANSFERS).items.has(key));
      east.tell(TRANSFER_STATUS).set(key, status as never);
      await until(`${action} is taken back`, () => !east.sent(TRANSFERS).items.has(key));
      east.tell(TRANSFER_STATUS).delete(key);
      west.tell(TOKENS).delete(key);
    };
    await run('backup', { phase: 'Failed', reason: 'StoreFull', message: FULL });
    await isReady('db', 'CopyFailed', /backup to west: StoreFull: .*enlarge its disk/);
    await run('maintain', { phase: 'Succeeded' });
    await run('backup', {
      phase: 'Succeeded',
      result: {
        snapshotID: 'a'.repeat(64),
        treeHash: 'b'.repeat(64),
        consistency: 'FilesystemSnapshot',
        cutAt: new Date().toISOString(),
        bytesScanned: 1,
        bytesSent: 1,
      },
    });
    await isReady('db', 'Replicated', /west: point 1-/);
    expect((await stage.admin.get<VolumeReplica>(REPLICA, 'db', 'shop'))?.status?.lastError).toBeUndefined();
  }, 90_000);
});

describe('a lost peer', () => {
  const condition = async () =>
    (await stage.claimOf('db'))?.status?.conditions?.find(({ type }) => type === 'fluvia.dev/Volume');

  it('is said on the claim, with what that means for the volume, until it is back', async () => {
    await down(() => east);
    await until('it is said', async () => (await condition())?.reason === 'PeerLost', 30_000);
    expect(await condition()).toMatchObject({
      status: 'False',
      message: 'peer east does not answer; no pod waits for the volume',
    });
    await stage.makePod('db-1', 'db', { [LABELS.peer]: 'west' }, true);
    await until('it waits for the writer', async () =>
      ((await condition())?.message ?? '').includes('a pod at east may still write'),
    );
    expect((await move('db', 'west')).err).toContain('peer east does not answer, so nothing can be copied');
    east.setUp(true);
    await until('it is well', async () => (await condition())?.reason === 'AtPeer');
    expect((await annotations())['fluvia.dev/loss']).toBeUndefined();
    await stage.removePod('db-1');
  }, 90_000);
});

describe('two moves at once', () => {
  const other = 'north';

  it('are one: the other is told which, by the CLI and by an event, and the first goes on', async () => {
    await stage.admin.create(PEER, {
      metadata: { name: other },
      spec: { clusterID: 'n'.repeat(26), pins: ['0'.repeat(64)], roles: ['Provider'] },
    } as never);
    const first = move('db', 'west');
    await until('it has begun', async () => (await annotations())['fluvia.dev/move'] !== undefined);
    const second = await move('db', other);
    expect([second.code, second.err]).toEqual([1, expect.stringMatching(/is being moved from east to west/)]);
    // by hand, past the CLI
    await wish(other);
    await until('it is told', () =>
      stage.notes.some((note) => note.startsWith('db MoveUnderWay: not moved')),
    );
    await until(
      'the wish is gone',
      async () => (await stage.claimOf('db'))?.metadata.annotations?.['fluvia.dev/move-to'] !== other,
    );
    expect(JSON.parse((await annotations())['fluvia.dev/move'] ?? '{}')).toMatchObject({ to: 'west' });
    // its peer is lost before the copy: nothing was moved, and that is said
    east.setUp(false);
    const outcome = await first;
    expect([outcome.code, outcome.err]).toEqual([
      1,
      expect.stringMatching(/not moved: peer east was lost before the copy/),
    ]);
    east.setUp(true);
    expect(await annotations()).toMatchObject({ 'fluvia.dev/location': 'east', 'fluvia.dev/epoch': '1' });
    expect(await stage.admin.get(resources.POD, 'db-0', 'shop')).toBeDefined();
  }, 120_000);

  it('begin no second one over a move that this release can not read', async () => {
    const later = JSON.stringify({ kind: 'planned', from: 'east', to: 'west', stage: 'later', failures: 0 });
    const note = (value: string | null): Promise<unknown> =>
      stage.admin.patch(
        resources.PERSISTENT_VOLUME,
        `fluvia-${id}`,
        undefined,
        { metadata: { annotations: { 'fluvia.dev/move': value } } },
        { type: 'merge' },
      );
    await until('pods may use it', () => east.sent(VOLUMES).items.get(id)?.state === 'active');
    await note(later);
    await until('nobody may use it', () => east.sent(VOLUMES).items.get(id)?.state === 'retained');
    await wish('west');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect((await annotations())['fluvia.dev/move']).toBe(later);
    await note(null);
    await until('it is moved then', async () =>
      ((await annotations())['fluvia.dev/move'] ?? '').includes('"to":"west"'),
    );
    await wish('@abort');
    await until('it is over', async () => (await annotations())['fluvia.dev/move'] === undefined);
    expect((await annotations())['fluvia.dev/location']).toBe('east');
  }, 60_000);
});
