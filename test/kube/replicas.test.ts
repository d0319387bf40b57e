import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ItemOf } from '../../api/link.ts';
import {
  RECORD_REQUESTS,
  STORE,
  TOKEN_REQUESTS,
  TRANSFER_STATUS,
  TRANSFERS,
  VOLUME_STATUS,
  VOLUMES,
} from '../../api/storage-collections.ts';
import { LABELS } from '../../api/labels.ts';
import type { VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { Job, PersistentVolume } from '../../runtime/kube/storage-types.ts';
import { startStorage } from '../../storage-fabric/start.ts';
import { volumeIdOf } from '../../storage-fabric/volumes/volume-id.ts';
import { fastClock } from '../support/fast-clock.ts';
import { createFakeLinks, type FakePeer } from './fake-links.ts';
import { finishMover, grantMover, type Transfer } from './fake-movers.ts';
import { PEER, VIEW } from './provider-setup.ts';
import { IDS, setUpStorage, until, type StorageStage } from './storage-stage.ts';

/**
 * Copies and moves as home steers them, and movers as a peer runs them, on a real control plane; peers, stores and movers'
 * ends are in memory. Told in order.
 */
const REPLICA = resources.fluviaResource('VolumeReplica', 'volumereplicas', true);
/** When the leader before heard a peer last. */
const LAST_HEARD = '2026-11-25T02:59:42.000Z';
/** Intervals and back-offs are short ones here. */
const clock = fastClock(4, true);
let stage: StorageStage;
let east: FakePeer;
let west: FakePeer;
let id = '';
let leader: AbortController;

const store = (host: string): ItemOf<typeof STORE> => ({
  address: '10.244.0.7',
  port: 9447,
  caCertificate: 'PEM',
  serverName: `store.${host}.fluvia`,
  ready: true,
});

const replicaOf = async (name = 'db') => stage.admin.get<VolumeReplica>(REPLICA, name, 'shop');
const placeholder = async () =>
  stage.admin.get<PersistentVolume>(resources.PERSISTENT_VOLUME, `fluvia-${id}`);

const wish = (to: string) =>
  stage.admin.patch(
    resources.PERSISTENT_VOLUME_CLAIM,
    'db',
    'shop',
    { metadata: { annotations: { 'fluvia.dev/move-to': to } } },
    { type: 'merge' },
  );

const grant = (
  target: FakePeer,
  runner: FakePeer,
  action: string,
  isMeant?: (order: Transfer) => boolean,
): Promise<[string, Transfer]> => grantMover(id, target, runner, action, isMeant);

const copied = (sequence: number, consistency: 'FilesystemSnapshot' | 'Stopped' = 'FilesystemSnapshot') => ({
  phase: 'Succeeded' as const,
  result: {
    snapshotID: sequence.toString(16).padStart(64, '0'),
    treeHash: 'b'.repeat(64),
    consistency,
    cutAt: clock.now().toISOString(),
    bytesScanned: 1000,
    bytesSent: 100,
  },
});

/** A leader begins with empty hands, and what the one before it published is gone. */
const lead = async (): Promise<void> => {
  leader?.abort();
  leader = new AbortController();
  for (const peer of [east, west])
    for (const box of [peer.sent(TRANSFERS), peer.sent(TOKEN_REQUESTS), peer.sent(RECORD_REQUESTS)])
      for (const key of box.items.keys()) box.delete(key);
  const signal = AbortSignal.any([stage.signal, leader.signal]);
  await startStorage(stage.deps, createFakeLinks([east, west]), 'h'.repeat(26), signal);
};

beforeAll(async () => {
  stage = await setUpStorage(clock);
  ({ east, west } = stage);
  for (const peer of [east, west]) {
    peer.tell(VOLUME_STATUS).complete = true;
    peer.tell(VOLUMES).complete = true;
    peer.tell(TRANSFERS).complete = true;
    peer.tell(STORE).set('store', store(peer.link.peer));
    peer.tell(STORE).complete = true;
  }
  await stage.admin.create(VIEW, {
    metadata: { name: 'west' },
    spec: {
      peer: 'west',
      clusterID: IDS.west,
      theirs: [{ purpose: 'Pod', real: '10.244.0.0/16', view: '10.62.0.0/16' }],
      ours: [],
    },
  } as never);
  await lead();
  await stage.makeClaim('db');
  await stage.makePod('db-0', 'db', { [LABELS.peer]: 'east' }, true);
  await until('it is bound', async () => (await stage.nodeOfPod('db-0')) !== undefined);
  const { uid = '' } = (await stage.claimOf('db'))?.metadata ?? {};
  id = volumeIdOf(uid);
  east.tell(VOLUME_STATUS).set(id, { uid, phase: 'Bound', storageClass: 'plain', capacity: '1Gi' });
}, 180_000);

afterAll(() => stage?.tearDown());

describe('a VolumeReplica', () => {
  it('says that its claim does not exist', async () => {
    await stage.admin.create(REPLICA, {
      metadata: { name: 'none', namespace: 'shop' },
      spec: { claimName: 'none', peers: ['west'] },
    } as never);
    await until('it says so', async () =>
      ((await replicaOf('none'))?.status?.conditions ?? []).some(({ reason }) => reason === 'NoVolume'),
    );
  });

  it('has a mover run beside the volume, with a token of the target and a key of home', async () => {
    await stage.admin.create(REPLICA, {
      metadata: { name: 'db', namespace: 'shop' },
      spec: { claimName: 'db', peers: ['west'], intervalSeconds: 10 },
    } as never);
    const [key, transfer] = await grant(west, east, 'backup');
    expect(transfer).toMatchObject({
      action: 'backup',
      namespace: 'shop',
      claimName: 'db',
      epoch: 1,
      sequence: 1,
      writerStopped: false,
      store: { clusterID: IDS.west, serverName: 'store.west.fluvia' },
    });
    expect(transfer.key.length).toBeGreaterThanOrEqual(32);
    await finishMover(west, east, key, copied(1));
    await until('the point is listed', async () => (await replicaOf())?.status?.points?.length === 1);
    const { status } = (await replicaOf()) ?? {};
    expect(status).toMatchObject({ volume: id, epoch: 1, location: 'east' });
    expect(status?.points?.[0]).toMatchObject({ peer: 'west', sequence: 1, bytesSent: 100 });
    await until('it is ready', async () =>
      ((await replicaOf())?.status?.conditions ?? []).some(({ reason }) => reason === 'Replicated'),
    );
  });

  it('copies again after the interval, and mends the repository after a failure', async () => {
    const [key, transfer] = await grant(west, east, 'backup');
    expect(transfer).toMatchObject({ sequence: 2, parentSnapshotID: '1'.padStart(64, '0') });
    await finishMover(west, east, key, { phase: 'Failed', reason: 'Interrupted', message: 'it was stopped' });
    await until('the error is shown', async () =>
      ((await replicaOf())?.status?.lastError ?? '').includes('it was stopped'),
    );
    const [mend] = await grant(west, east, 'maintain');
    await finishMover(west, east, mend, { phase: 'Succeeded' });
    const [again, order] = await grant(west, east, 'backup');
    expect(order.sequence).toBeGreaterThan(2);
    await finishMover(west, east, again, copied(order.sequence));
    await until('the second point is listed', async () => (await replicaOf())?.status?.points?.length === 2);
    expect((await replicaOf())?.status?.lastError).toBeUndefined();
  }, 90_000);

  it('lists the copies that its store holds, and numbers on above them, also when it is made anew', async () => {
    const listed = async () => ((await replicaOf())?.status?.points ?? []).map(({ sequence }) => sequence);
    const before = await listed();
    const [newest = 0] = before;
    // a mover wrote its record, and its word got lost
    const [key, order] = await grant(west, east, 'backup');
    stage.stores.add('west', order, copied(order.sequence).result);
    await finishMover(west, east, key, { phase: 'Failed', reason: 'TimedOut', message: 'no word came' });
    await until('the copy is listed all the same', async () => (await listed())[0] === order.sequence);
    expect(order.sequence).toBeGreaterThan(newest);
    await stage.admin.delete(REPLICA, 'db', 'shop');
    await until('it is gone', async () => (await replicaOf()) === undefined);
    await until('nothing is ordered for it', () => west.sent(TOKEN_REQUESTS).items.size === 0);
    await stage.admin.create(REPLICA, {
      metadata: { name: 'db', namespace: 'shop' },
      spec: { claimName: 'db', peers: ['west'], intervalSeconds: 10 },
    } as never);
    await until('all are listed again', async () => (await listed()).length === before.length + 1);
    expect(await listed()).toEqual([order.sequence, ...before]);
    const [mend] = await grant(west, east, 'maintain');
    await finishMover(west, east, mend, { phase: 'Succeeded' });
    const [again, next] = await grant(west, east, 'backup');
    expect(next.sequence).toBeGreaterThan(order.sequence);
    expect(Number((await placeholder())?.metadata.annotations?.['fluvia.dev/sequence'])).toBeGreaterThan(
      next.sequence,
    );
    await finishMover(west, east, again, copied(next.sequence));
  }, 90_000);

  it('goes on after a change of leader that left a mover alone: its copy is listed, its number not used again', async () => {
    const listed = async () => ((await replicaOf())?.status?.points ?? []).map(({ sequence }) => sequence);
    const [, order] = await grant(west, east, 'backup');
    expect(await listed()).not.toContain(order.sequence);
    leader.abort();
    const { result } = copied(order.sequence);
    stage.stores.add('west', order, result);
    await lead();
    await until('the copy is listed', async () => (await listed())[0] === order.sequence);
    const [again, next] = await grant(west, east, 'backup');
    expect(next.sequence).toBeGreaterThan(order.sequence);
    expect(next.parentSnapshotID).toBe(result.snapshotID);
    await finishMover(west, east, again, copied(next.sequence));
  }, 90_000);
});

describe('a planned move', () => {
  it('is refused to where the volume is', async () => {
    await wish('east');
    await until('it is refused', () => stage.events.includes('AlreadyThere'));
    await until(
      'the wish is gone',
      async () => (await stage.claimOf('db'))?.metadata.annotations?.['fluvia.dev/move-to'] === undefined,
    );
    await wish('west');
  });

  it('stops the writer, copies, restores at a raised epoch, and lets pods go there', async () => {
    await until('the pod is told to end', async () => {
      const pod = await stage.admin.get(resources.POD, 'db-0', 'shop');
      return pod?.metadata.deletionTimestamp !== undefined;
    });
    expect(east.sent(VOLUMES).items.get(id)?.state).toBe('retained');
    expect([...west.sent(TOKEN_REQUESTS).items.keys()].filter((key) => key.includes('-backup-'))).toEqual([]);
    await stage.removePod('db-0');
    const [key, order] = await grant(west, east, 'backup');
    expect(order.writerStopped).toBe(true);
    await finishMover(west, east, key, copied(order.sequence, 'Stopped'));
    const [restore, wanted] = await grant(west, west, 'restore');
    expect(wanted).toMatchObject({
      epoch: 2,
      snapshotID: order.sequence.toString(16).padStart(64, '0'),
      treeHash: 'b'.repeat(64),
    });
    await until('the peer knows', () => west.sent(VOLUMES).items.get(id)?.state === 'restoring');
    expect(west.sent(VOLUMES).items.get(id)?.epoch).toBe(2);
    west.tell(TRANSFER_STATUS).set(restore, { phase: 'Running', bytesDone: 5, bytesTotal: 10 });
    await until('progress is shown', async () =>
      ((await placeholder())?.metadata.annotations?.['fluvia.dev/move-progress'] ?? '').includes('"done":5'),
    );
    await finishMover(west, west, restore, { phase: 'Succeeded' });
    await until('it is there', () => west.sent(VOLUMES).items.get(id)?.state === 'active');
    expect(east.sent(VOLUMES).items.get(id)?.state).toBe('retained');
    expect((await placeholder())?.metadata.annotations).toMatchObject({
      'fluvia.dev/location': 'west',
      'fluvia.dev/retained': 'east',
      'fluvia.dev/epoch': '2',
    });
    await stage.makePod('db-1', 'db', {}, true);
    await until('a new pod goes there', async () => (await stage.nodeOfPod('db-1')) === 'west-a');
  }, 90_000);
});

describe('a failover', () => {
  it('waits for the word that nobody writes, then restores from the freshest point', async () => {
    await stage.admin.patch(REPLICA, 'db', 'shop', { spec: { peers: ['east', 'west'] } }, { type: 'merge' });
    const [key, order] = await grant(east, west, 'backup');
    await finishMover(east, west, key, copied(order.sequence));
    west.setUp(false);
    await stage.makePod('db-2', 'db', { [LABELS.peer]: 'east' }, true);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    // db-1 may still write
    expect((await placeholder())?.metadata.annotations?.['fluvia.dev/move']).toBeUndefined();
    const said = async () => (await stage.claimOf('db'))?.status?.conditions?.map(({ reason }) => reason);
    await until('it is said', async () => (await said())?.includes('PeerLost') === true);
    // the next leader never heard west, nor what west says of the volume
    west.setUnheard();
    for (const key of west.tell(VOLUME_STATUS).items.keys()) west.tell(VOLUME_STATUS).delete(key);
    await stage.admin.patch(
      PEER,
      'west',
      undefined,
      { status: { link: { state: 'Down', since: LAST_HEARD, lastHeardAt: LAST_HEARD } } },
      { type: 'merge', subresource: 'status' },
    );
    await lead();
    await stage.removePod('db-1');
    await new Promise((resolve) => setTimeout(resolve, 3000));
    // a take-over is no loss: west has time to answer, and what was said stays
    expect((await placeholder())?.metadata.annotations?.['fluvia.dev/move']).toBeUndefined();
    expect(await said()).toContain('PeerLost');
    const [restore, wanted] = await grant(east, east, 'restore');
    expect(
      JSON.parse((await placeholder())?.metadata.annotations?.['fluvia.dev/move'] ?? '{}'),
    ).toMatchObject({
      isLost: true,
      lostAt: LAST_HEARD,
    });
    expect(wanted).toMatchObject({ epoch: 3, sequence: order.sequence });
    await finishMover(east, east, restore, { phase: 'Succeeded' });
    await until(
      'the pod starts there',
      async () => (await stage.nodeOfPod('db-2'))?.startsWith('east-') === true,
    );
    expect(stage.events).toContain('FailedOver');
    expect(west.sent(VOLUMES).items.get(id)).toMatchObject({ state: 'retained', epoch: 3 });
    expect((await placeholder())?.metadata.annotations?.['fluvia.dev/diverged']).toBe('west');
  }, 90_000);

  it('is followed by a way back that keeps what the lost peer wrote last', async () => {
    west.setUp(true);
    await wish('west');
    const [tail, kept] = await grant(west, west, 'backup');
    expect(kept.salvage).toBe(true);
    await finishMover(west, west, tail, copied(kept.sequence, 'Stopped'));
    await until('the tail is listed', async () =>
      ((await replicaOf())?.status?.points ?? []).some((point) => point.salvage === true),
    );
    await stage.removePod('db-2');
    const [delta, order] = await grant(west, east, 'backup');
    expect(order.sequence).toBeGreaterThan(kept.sequence);
    await finishMover(west, east, delta, copied(order.sequence, 'Stopped'));
    const [restore, wanted] = await grant(west, west, 'restore');
    expect(wanted.sequence).toBe(order.sequence);
    await finishMover(west, west, restore, { phase: 'Succeeded' });
    await until('it is there', () => west.sent(VOLUMES).items.get(id)?.state === 'active');
    expect((await placeholder())?.metadata.annotations?.['fluvia.dev/diverged']).toBeUndefined();
  }, 90_000);
});

describe('a move that comes to nothing', () => {
  const lastMove = async () =>
    JSON.parse((await placeholder())?.metadata.annotations?.['fluvia.dev/last-move'] ?? '{}') as {
      readonly ok?: boolean;
      readonly message?: string;
    };
  const isActive = () => west.sent(VOLUMES).items.get(id)?.state === 'active';

  it('since its target is lost while it is filled: the volume goes on where it is whole', async () => {
    await stage.admin.patch(REPLICA, 'db', 'shop', { spec: { intervalSeconds: 3600 } }, { type: 'merge' });
    await wish('east');
    const [key, order] = await grant(east, west, 'backup', ({ writerStopped }) => writerStopped);
    await finishMover(east, west, key, copied(order.sequence, 'Stopped'));
    const [, restore] = await grant(east, east, 'restore');
    await until('the VolumeReplica says so', async () =>
      ((await replicaOf())?.status?.conditions ?? []).some(({ reason }) => reason === 'Moving'),
    );
    east.setUp(false);
    await until('it is over', async () => (await lastMove()).ok === false);
    expect((await lastMove()).message).toContain('peer east was lost');
    await until('pods may use it', isActive);
    expect((await placeholder())?.metadata.annotations).toMatchObject({
      'fluvia.dev/location': 'west',
      'fluvia.dev/epoch': String(restore.epoch),
    });
    expect((await stage.claimOf('db'))?.metadata.annotations?.['fluvia.dev/move-to']).toBeUndefined();
    await stage.makePod('db-3', 'db', {}, true);
    await until('a pod starts there', async () => (await stage.nodeOfPod('db-3')) === 'west-a');
    east.setUp(true);
  }, 60_000);

  it('since a person takes it back', async () => {
    await wish('east');
    await until('it stops the pods', async () => {
      const pod = await stage.admin.get(resources.POD, 'db-3', 'shop');
      return pod?.metadata.deletionTimestamp !== undefined;
    });
    await wish('@abort');
    await until('it is over', async () => (await lastMove()).message?.startsWith('taken back') === true);
    await until('pods may use it', isActive);
    expect((await stage.claimOf('db'))?.metadata.annotations?.['fluvia.dev/move-to']).toBeUndefined();
    await stage.removePod('db-3');
  }, 60_000);
});

describe('the peer that runs a mover', () => {
  const transfer: Transfer = {
    action: 'backup',
    volume: volumeIdOf('u9'),
    namespace: 'store',
    claimName: 'data',
    epoch: 1,
    sequence: 7,
    store: { clusterID: IDS.west, ...store('west'), path: '/t/v/' },
    token: 'the token',
    key: 'k'.repeat(43),
    writerStopped: false,
    deadlineSeconds: 600,
  };

  it('has no volume to copy', async () => {
    east.tell(TRANSFERS).set('t0', transfer);
    await until('it says so', () => east.sent(TRANSFER_STATUS).items.get('t0')?.reason === 'NoVolume');
    east.tell(TRANSFERS).delete('t0');
    await until('it is forgotten', () => !east.sent(TRANSFER_STATUS).items.has('t0'));
  });

  it('makes a Secret and a Job as the peering, and takes them away', async () => {
    await stage.admin.create(resources.STORAGE_CLASS, {
      metadata: { name: 'plain', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    } as never);
    east.tell(VOLUMES).set(transfer.volume, {
      namespace: 'store',
      claimName: 'data',
      uid: 'u9',
      size: '1Gi',
      accessModes: ['ReadWriteOnce'],
      volumeMode: 'Filesystem',
      epoch: 1,
      state: 'active',
    });
    await until('it is claimed', async () => (await stage.claimOf('data', 'shop-east')) !== undefined);
    east.tell(TRANSFERS).set('t1', transfer);
    const jobs = async () => (await stage.admin.list<Job>(resources.JOB, { namespace: 'shop-east' })).items;
    await until('the Job is there', async () => (await jobs()).length === 1);
    const [job] = await jobs();
    expect(JSON.stringify(job)).not.toContain('the token');
    expect(JSON.stringify(job)).toContain('10.62.0.7');
    const name = job?.metadata.name ?? '';
    expect(await stage.admin.get(resources.SECRET, name, 'shop-east')).toBeDefined();
    await until('it waits', () => east.sent(TRANSFER_STATUS).items.get('t1')?.phase === 'Pending');
    east.tell(TRANSFERS).delete('t1');
    await until('the Job is gone', async () => (await jobs()).length === 0);
    expect(await stage.admin.get(resources.SECRET, name, 'shop-east')).toBeUndefined();
    await until('it is forgotten', () => !east.sent(TRANSFER_STATUS).items.has('t1'));
  });

  it('copies nothing as stopped while a pod there may still write, though home has let it go', async () => {
    const volumes = [{ name: 'd', persistentVolumeClaim: { claimName: 'data' } }];
    await stage.admin.create(resources.POD, {
      metadata: { name: 'writer', namespace: 'shop-east' },
      spec: { containers: [{ name: 'c', image: 'x' }], volumes },
    } as never);
    const seen = stage.deps.informers.for(resources.POD);
    await until('it is seen', () => seen.get('shop-east', 'writer') !== undefined);
    east.tell(TRANSFERS).set('t2', { ...transfer, writerStopped: true });
    const said = () => east.sent(TRANSFER_STATUS).items.get('t2')?.message ?? '';
    await until('it waits', () => said().includes('waiting for pod writer to end'));
    await stage.admin.delete(resources.POD, 'writer', 'shop-east', { gracePeriodSeconds: 0 });
    const jobs = async () => (await stage.admin.list<Job>(resources.JOB, { namespace: 'shop-east' })).items;
    await until('it begins', async () => (await jobs()).length === 1);
    east.tell(TRANSFERS).delete('t2');
    await until('the Job is gone', async () => (await jobs()).length === 0);
  });

  it('runs a few of a consumer at once, and the rest in their time', async () => {
    const jobs = async () => (await stage.admin.list<Job>(resources.JOB, { namespace: 'shop-east' })).items;
    const all = Array.from({ length: 10 }, (_, index) => `many-${index}`);
    for (const name of all) {
      const volume = volumeIdOf(name);
      east.tell(VOLUMES).set(volume, {
        namespace: 'store',
        claimName: name,
        uid: name,
        size: '1Gi',
        accessModes: ['ReadWriteOnce'],
        volumeMode: 'Filesystem',
        epoch: 1,
        state: 'active',
      });
      await until('it is claimed', async () => (await stage.claimOf(name, 'shop-east')) !== undefined);
    }
    // all in one go: no Job of the others is in any cache yet
    for (const name of all)
      east.tell(TRANSFERS).set(name, { ...transfer, volume: volumeIdOf(name), claimName: name });
    const waiting = () =>
      all.filter((name) => (east.sent(TRANSFER_STATUS).items.get(name)?.message ?? '').includes('8 may run'));
    await until('eight run and two wait', async () => (await jobs()).length === 8 && waiting().length === 2);
    const [late = ''] = waiting();
    const done = all.find((name) => !waiting().includes(name)) ?? '';
    east.tell(TRANSFERS).delete(done);
    await until('the next begins', () => !waiting().includes(late) || waiting().length === 1);
    expect((await jobs()).length).toBeLessThanOrEqual(8);
    for (const name of all) east.tell(TRANSFERS).delete(name);
    await until('all are gone', async () => (await jobs()).length === 0);
  }, 60_000);
});
