import { createServer, type Server } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PORTS } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import {
  STORE,
  TOKEN_REQUESTS,
  TOKENS,
  TRANSFER_STATUS,
  TRANSFERS,
  VOLUME_STATUS,
  VOLUMES,
} from '../../api/storage-collections.ts';
import { volumeNodeLabel } from '../../api/storage-names.ts';
import type { VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';
import type { Node, Secret } from '../../runtime/kube/types.ts';
import { startStorage } from '../../storage-fabric/start.ts';
import { volumeIdOf } from '../../storage-fabric/volumes/volume-id.ts';
import { createFakeLinks, type FakePeer } from './fake-links.ts';
import { endMover, moverOf, startProvisioner, type FakeProvisioner } from './fake-provisioner.ts';
import { VIEW } from './provider-setup.ts';
import { IDS, setUpStorage, until, type StorageStage } from './storage-stage.ts';

/**
 * A volume that begins at home, is copied, moves to a peer and back, on a real control plane with the rights of the
 * installation; the provisioner, the kubelet, home's store and the peer are played. Told in order.
 */
const REPLICA = resources.fluviaResource('VolumeReplica', 'volumereplicas', true);
const HOME_ID = 'h'.repeat(26);
/** Of home's own front: an address of this machine that no other test takes. */
const FRONT = '127.66.5.1';
const TOKEN = 'token-of-the-store';
let stage: StorageStage;
let provisioner: FakeProvisioner;
let east: FakePeer;
let front: Server | undefined;
let id = '';

const homeVolume = () => stage.admin.get<PersistentVolume>(resources.PERSISTENT_VOLUME, `fluvia-${id}`);
const homeClaim = () => stage.claimOf(`fluvia-${id}`, 'fluvia-volumes');
const realVolume = async () =>
  stage.admin.get<PersistentVolume>(
    resources.PERSISTENT_VOLUME,
    (await homeClaim())?.spec.volumeName ?? 'none',
  );
const labelled = async (): Promise<string[]> => {
  const { items } = await stage.admin.list<Node>(resources.NODE);
  const names = items.filter((node) => node.metadata.labels?.[volumeNodeLabel(id)] === 'true');
  return names.map((node) => node.metadata.name).toSorted();
};
const conditionOf = async (name: string) =>
  ((await stage.claimOf(name))?.status?.conditions ?? []).find(({ type }) => type === 'fluvia.dev/Volume');
const replicaOf = () => stage.admin.get<VolumeReplica>(REPLICA, 'db', 'shop');
const askToMove = (to: string) =>
  stage.admin.patch(
    resources.PERSISTENT_VOLUME_CLAIM,
    'db',
    'shop',
    { metadata: { annotations: { 'fluvia.dev/move-to': to } } },
    { type: 'merge' },
  );
const copied = (sequence: number, consistency: 'FilesystemSnapshot' | 'Stopped') => ({
  snapshotID: sequence.toString(16).padStart(64, '0'),
  treeHash: 'b'.repeat(64),
  consistency,
  cutAt: new Date().toISOString(),
  bytesScanned: 1000,
  bytesSent: 100,
});
const store: ItemOf<typeof STORE> = {
  address: '10.244.0.7',
  port: 9447,
  caCertificate: 'PEM',
  serverName: 'store.east.fluvia',
  ready: true,
};

/** Plays east's store: every request has its token at once. */
const grantTokens = (): void => {
  const requests = east.sent(TOKEN_REQUESTS);
  requests.onChange((key) => {
    if (key === undefined) return;
    if (requests.items.has(key))
      east.tell(TOKENS).set(key, { attempt: 0, token: TOKEN, path: `/${HOME_ID}/${id}/` });
    else east.tell(TOKENS).delete(key);
  });
};

/** A mover at the peer, by its action. */
const orderAt = async (peer: FakePeer, action: string): Promise<[string, ItemOf<typeof TRANSFERS>]> => {
  const find = () => [...peer.sent(TRANSFERS).items].find(([key]) => key.includes(`-${action}-`));
  await until(`${action} is ordered at the peer`, () => find() !== undefined, 40_000);
  return find() as [string, ItemOf<typeof TRANSFERS>];
};
const endAt = async (peer: FakePeer, key: string, status: ItemOf<typeof TRANSFER_STATUS>): Promise<void> => {
  peer.tell(TRANSFER_STATUS).set(key, status);
  await until('the mover is taken back', () => !peer.sent(TRANSFERS).items.has(key));
  peer.tell(TRANSFER_STATUS).delete(key);
};

/** Home's own store: a pod that is Ready, and a front behind it that raises epochs. */
const startFront = async (): Promise<void> => {
  const metadata = {
    name: 'front',
    namespace: 'fluvia-system',
    labels: { 'app.kubernetes.io/name': 'fluvia', 'app.kubernetes.io/component': 'store' },
  };
  await stage.admin.create(resources.POD, {
    metadata,
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'x' }] },
  } as never);
  const secretOf = () => stage.admin.get<Secret>(resources.SECRET, 'fluvia-store', 'fluvia-system');
  await until('the keys of the store are there', async () => (await secretOf()) !== undefined);
  const { data = {} } = (await secretOf()) ?? {};
  const file = (name: string): Buffer => Buffer.from(data[name] ?? '', 'base64');
  front = createServer({ cert: file('tls.crt'), key: file('tls.key') }, (_request, response) =>
    response.end('{"epoch":1}'),
  );
  await new Promise<void>((resolve) => front?.listen(PORTS.store, FRONT, resolve));
  const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: new Date().toISOString() }];
  const status = { phase: 'Running', podIP: FRONT, podIPs: [{ ip: FRONT }], conditions };
  await stage.admin.patch(
    resources.POD,
    'front',
    'fluvia-system',
    { status },
    { type: 'merge', subresource: 'status' },
  );
};

beforeAll(async () => {
  stage = await setUpStorage();
  ({ east } = stage);
  east.tell(VOLUME_STATUS).complete = true;
  east.tell(VOLUMES).complete = true;
  east.tell(TRANSFERS).complete = true;
  east.tell(STORE).set('store', store);
  await stage.admin.create(VIEW, {
    metadata: { name: 'east' },
    spec: {
      peer: 'east',
      clusterID: IDS.east,
      theirs: [{ purpose: 'Pod', real: '10.244.0.0/16', view: '10.61.0.0/16' }],
      ours: [],
    },
  } as never);
  grantTokens();
  provisioner = await startProvisioner(stage);
  await startStorage(stage.deps, createFakeLinks([east]), HOME_ID, stage.signal);
}, 180_000);

afterAll(async () => {
  provisioner?.stop();
  front?.close();
  await stage?.tearDown();
});

describe('a volume at home', () => {
  it("is made by home's own class on the node where its first pod lands", async () => {
    await stage.makeClaim('db');
    id = volumeIdOf((await stage.claimOf('db'))?.metadata.uid ?? '');
    await stage.makePod('db-0', 'db', { 'kubernetes.io/hostname': 'n1' }, true);
    await until('the pod is bound', async () => (await stage.nodeOfPod('db-0')) === 'n1', 40_000);
    const real = await realVolume();
    expect((await homeVolume())?.spec).toMatchObject({ local: real?.spec['local'] });
    expect((await homeVolume())?.metadata.annotations).toMatchObject({
      'fluvia.dev/location': '@home',
      'fluvia.dev/epoch': '1',
    });
    expect(real?.spec.persistentVolumeReclaimPolicy).toBe('Retain');
    expect(await labelled()).toEqual(['n1']);
    await until('the claim says where it is', async () => (await conditionOf('db'))?.reason === 'AtHome');
    expect((await conditionOf('db'))?.message).toContain('class disk');
    expect(east.sent(VOLUMES).items.size).toBe(0);
  }, 60_000);

  it('gets its label back on a node that lost it', async () => {
    const labels = { [volumeNodeLabel(id)]: null };
    await stage.admin.patch(resources.NODE, 'n1', undefined, { metadata: { labels } }, { type: 'merge' });
    await until('it stands there again', async () => (await labelled()).includes('n1'));
  });

  it('is copied by a mover beside it', async () => {
    await stage.admin.create(REPLICA, {
      metadata: { name: 'db', namespace: 'shop' },
      spec: { claimName: 'db', peers: ['east', 'home'], intervalSeconds: 600 },
    } as never);
    const { job, pod } = await moverOf(stage, 'backup');
    expect(pod.spec.nodeName).toBe('n1');
    expect(JSON.stringify(job)).toContain(`"claimName":"fluvia-${id}"`);
    expect(JSON.stringify(job)).toContain('10.61.0.7');
    expect(JSON.stringify(job)).not.toContain(TOKEN);
    await endMover(stage, pod, copied(1, 'FilesystemSnapshot'));
    await until('the point is listed', async () => (await replicaOf())?.status?.points?.length === 1);
    expect((await replicaOf())?.status?.points?.[0]).toMatchObject({ peer: 'east', sequence: 1 });
    expect((await replicaOf())?.status?.location).toBe('home');
    await until('the Job is gone', async () => {
      const { items } = await stage.admin.list(resources.JOB, { namespace: 'fluvia-volumes' });
      return items.length === 0;
    });
  }, 90_000);
});

describe('its move to a peer', () => {
  it('stops the writer, copies what is left, restores there', async () => {
    await askToMove('east');
    await until('no node has it', async () => (await labelled()).length === 0);
    await until('the pod is told to end', async () => {
      const pod = await stage.admin.get(resources.POD, 'db-0', 'shop');
      return pod === undefined || pod.metadata.deletionTimestamp !== undefined;
    });
    await stage.removePod('db-0');
    await stage.makePod('db-1', 'db', {}, true);
    const { pod } = await moverOf(stage, 'backup');
    // whatever waits can't begin: the mover has the volume by home's own claim
    expect(await stage.nodeOfPod('db-1')).toBeUndefined();
    await endMover(stage, pod, copied(2, 'Stopped'));
    const [restore, wanted] = await orderAt(east, 'restore');
    expect(wanted).toMatchObject({ epoch: 2, claimName: 'db', snapshotID: '2'.padStart(64, '0') });
    // told by another controller, which may be a moment behind the order: the peer waits for it
    await until('the peer knows', () => east.sent(VOLUMES).items.get(id)?.state === 'restoring');
    expect(east.sent(VOLUMES).items.get(id)?.epoch).toBe(2);
    await endAt(east, restore, { phase: 'Succeeded' });
    await until(
      'the pod goes there',
      async () => (await stage.nodeOfPod('db-1'))?.startsWith('east-') === true,
      40_000,
    );
    const volume = await homeVolume();
    expect(volume?.spec).toMatchObject({ local: { path: `/var/lib/fluvia-placeholder/${id}` } });
    expect(volume?.metadata.annotations).toMatchObject({
      'fluvia.dev/location': 'east',
      'fluvia.dev/retained': '@home',
      'fluvia.dev/epoch': '2',
    });
    expect(await labelled()).toEqual(['east-a', 'east-b']);
    await until(
      'the claim is bound again',
      async () => (await stage.claimOf('db'))?.status?.phase === 'Bound',
    );
    expect((await homeClaim())?.metadata.annotations).toMatchObject({
      'fluvia.dev/volume-state': 'retained',
      'fluvia.dev/epoch': '2',
    });
    await until(
      'nothing is written down any more',
      async () => (await homeClaim())?.metadata.annotations?.['fluvia.dev/swap'] === undefined,
    );
    expect((await realVolume())?.spec.persistentVolumeReclaimPolicy).toBe('Retain');
    expect(provisioner.destroyed).toEqual([]);
  }, 120_000);
});

describe('its way back', () => {
  it('is refused while home has no store', async () => {
    east.tell(VOLUME_STATUS).set(id, { uid: 'u', phase: 'Bound' });
    await askToMove('home');
    await until('it is refused', () => stage.events.includes('NoStore'));
    await until(
      'the wish is gone',
      async () => (await stage.claimOf('db'))?.metadata.annotations?.['fluvia.dev/move-to'] === undefined,
    );
  });

  it('restores into the old copy, which pods then use', async () => {
    await startFront();
    await until(
      'a copy goes to the store of home',
      () => [...east.sent(TRANSFERS).items.keys()].some((key) => key.includes('-backup-')),
      40_000,
    );
    const [first, order] = await orderAt(east, 'backup');
    expect(order.store).toMatchObject({ clusterID: HOME_ID, address: FRONT });
    await endAt(east, first, { phase: 'Succeeded', result: copied(order.sequence, 'FilesystemSnapshot') });
    await until('the point is listed by the name of home', async () =>
      ((await replicaOf())?.status?.points ?? []).some(({ peer }) => peer === 'home'),
    );
    await askToMove('home');
    await until('the pod is told to end', async () => {
      const pod = await stage.admin.get(resources.POD, 'db-1', 'shop');
      return pod === undefined || pod.metadata.deletionTimestamp !== undefined;
    });
    await stage.removePod('db-1');
    const [delta, last] = await orderAt(east, 'backup');
    await endAt(east, delta, { phase: 'Succeeded', result: copied(last.sequence, 'Stopped') });
    await stage.makePod('db-2', 'db', {}, true);
    const { pod } = await moverOf(stage, 'restore');
    expect((await homeClaim())?.metadata.annotations?.['fluvia.dev/volume-state']).toBe('restoring');
    await endMover(stage, pod, {});
    await until('the pod starts at home', async () => (await stage.nodeOfPod('db-2')) === 'n1', 40_000);
    const volume = await homeVolume();
    expect(volume?.spec).toMatchObject({ local: (await realVolume())?.spec['local'] });
    expect(volume?.metadata.annotations).toMatchObject({
      'fluvia.dev/location': '@home',
      'fluvia.dev/retained': 'east',
      'fluvia.dev/epoch': '3',
    });
    expect(east.sent(VOLUMES).items.get(id)).toMatchObject({ state: 'retained', epoch: 3 });
    await until('the claim says so', async () => (await conditionOf('db'))?.reason === 'AtHome');
  }, 150_000);
});

describe('its end', () => {
  it('takes the real volume with the claim, once the peer has let go of its copy', async () => {
    const real = (await realVolume())?.metadata.name ?? '';
    await stage.admin.delete(REPLICA, 'db', 'shop');
    await stage.removePod('db-2');
    await stage.admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'db', 'shop');
    await until('the peer is told', () => !east.sent(VOLUMES).items.has(id));
    east.tell(VOLUME_STATUS).delete(id);
    await until(
      'nothing is left',
      async () => (await homeVolume()) === undefined && (await homeClaim()) === undefined,
      40_000,
    );
    await until('the real volume is gone', async () => {
      return (await stage.admin.get(resources.PERSISTENT_VOLUME, real)) === undefined;
    });
    expect(provisioner.destroyed).toContain(real);
    await until('no label is left', async () => (await labelled()).length === 0);
  }, 60_000);

  it('goes with a claim that no pod ever used', async () => {
    await stage.makeClaim('idle');
    const idle = volumeIdOf((await stage.claimOf('idle'))?.metadata.uid ?? '');
    await stage.admin.patch(
      resources.PERSISTENT_VOLUME_CLAIM,
      'idle',
      'shop',
      { metadata: { annotations: { 'volume.kubernetes.io/selected-node': 'n1' } } },
      { type: 'merge' },
    );
    await until('it is bound', async () => (await stage.claimOf('idle'))?.status?.phase === 'Bound', 40_000);
    const own = await stage.claimOf(`fluvia-${idle}`, 'fluvia-volumes');
    expect(own?.status?.phase).toBe('Bound');
    await stage.admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'idle', 'shop');
    await until(
      'its volume goes',
      async () => (await stage.claimOf(`fluvia-${idle}`, 'fluvia-volumes')) === undefined,
      40_000,
    );
  }, 90_000);
});
