import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NAMESPACES, SHADOW_STATUS, SHADOWS, TWINS } from '../../api/collections.ts';
import { FLOAT_GATE, LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import { storageClass } from '../../deploy/manifests/storage.ts';
import { startConsumer } from '../../offloading/consumer/start.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { startStorage } from '../../storage-fabric/start.ts';
import { volumeIdOf } from '../../storage-fabric/volumes/volume-id.ts';
import { fastClock } from '../support/fast-clock.ts';
import { freePort } from '../support/free-port.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';
import { startProvisioner, type FakeProvisioner } from './fake-provisioner.ts';
import { homeDeps, IDS, makeHomeNode, makePeer, makeWebhook, waitUntil } from './home-objects.ts';
import { NETWORK_CONFIG } from '../../offloading/consumer/home.ts';
import { controllerToken, installKinds } from './provider-setup.ts';

/**
 * A volume that its first place could not make is made elsewhere, and its pod with it: placement and storage together on a
 * real control plane, with the rights of the installation. The peers are in memory. Told in order.
 */
type Status = ItemOf<typeof VOLUME_STATUS>;
const NS = 'shop';
const term = new AbortController();
const events: string[] = [];
/** Which peers had the volume as `active` at once, ever: `<claim>: east+west`. */
const doubles = new Set<string>();
let server: TestApiServer;
let admin: KubeClient;
let client: KubeClient;
let east: FakePeer;
let west: FakePeer;
let provisioner: FakeProvisioner | undefined;

const claimOf = (name: string) =>
  admin.get<PersistentVolumeClaim>(resources.PERSISTENT_VOLUME_CLAIM, name, NS);
const idOf = async (name: string): Promise<string> => volumeIdOf((await claimOf(name))?.metadata.uid ?? '');
const volumeOf = async (name: string) =>
  admin.get<PersistentVolume>(resources.PERSISTENT_VOLUME, `fluvia-${await idOf(name)}`);
const podsOf = async (app: string): Promise<readonly Pod[]> =>
  (await admin.list<Pod>(resources.POD, { namespace: NS, labelSelector: `app=${app}` })).items;
const runsAt = async (app: string, node: string, replicas = 1): Promise<boolean> => {
  const pods = await podsOf(app);
  return (
    pods.length === replicas &&
    pods.every(({ metadata, spec }) => spec.nodeName === node && metadata.deletionTimestamp === undefined)
  );
};

/** What each peer says of a volume, by the state in which home wants it. */
type Story = (item: ItemOf<typeof VOLUMES>) => Omit<Status, 'uid' | 'state'>;
const stories = new Map<string, Story>();
const BOUND: Story = () => ({ phase: 'Bound', storageClass: 'local-path', capacity: '1Gi' });
const noClass: Story = ({ state }) =>
  state === 'retained'
    ? { phase: 'Gone' }
    : { phase: 'Failed', reason: 'NoStorageClass', message: 'the peer has no default StorageClass' };

/** Plays the peer's side of volumes and shadows. */
const play = (peer: FakePeer): void => {
  const { peer: name } = peer.link;
  const volumes = peer.sent(VOLUMES);
  volumes.onChange((id) => {
    if (id === undefined) return;
    const item = volumes.items.get(id);
    if (item === undefined) return peer.tell(VOLUME_STATUS).delete(id);
    const { state } = item;
    if (state === 'unknown') return undefined;
    const others = [east, west].filter((other) => other.sent(VOLUMES).items.get(id)?.state === 'active');
    if (others.length > 1) doubles.add(item.claimName);
    const story = stories.get(`${name}/${item.claimName}`) ?? BOUND;
    setTimeout(() => {
      const now = volumes.items.get(id);
      if (now === item) peer.tell(VOLUME_STATUS).set(id, { uid: item.uid, state, ...story(item) });
    }, 50);
  });
  const shadows = peer.sent(SHADOWS);
  shadows.onChange((id) => {
    if (id === undefined) return;
    const item = shadows.items.get(id);
    if (item === undefined) peer.tell(SHADOW_STATUS).delete(id);
    else if (item.deletionGraceSeconds !== undefined)
      peer.tell(SHADOW_STATUS).set(id, { uid: item.uid, state: 'gone' });
    else peer.tell(SHADOW_STATUS).set(id, { uid: item.uid, state: 'accepted', status: { phase: 'Pending' } });
  });
};
const open = (peer: FakePeer): void =>
  peer.tell(TWINS).set(NS, { twin: NS, ready: true, reason: 'Ready', message: '' });

const makeApp = async (name: string, replicas = 1): Promise<void> => {
  await admin.create(resources.PERSISTENT_VOLUME_CLAIM, {
    metadata: { name, namespace: NS },
    spec: {
      storageClassName: 'fluvia',
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
    },
  } as never);
  await admin.create(resources.DEPLOYMENT, {
    metadata: { name, namespace: NS },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          automountServiceAccountToken: false,
          containers: [
            {
              name: 'c',
              image: 'x',
              resources: { requests: { cpu: '100m', memory: '64Mi' } },
              volumeMounts: [{ name: 'd', mountPath: '/d' }],
            },
          ],
          volumes: [{ name: 'd', persistentVolumeClaim: { claimName: name } }],
          tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
          schedulingGates: [{ name: FLOAT_GATE }],
        },
      },
    },
  } as never);
};

beforeAll(async () => {
  server = await startControlPlane();
  admin = createKubeClient(server.access);
  await installKinds(admin);
  await admin.create(resources.STORAGE_CLASS, storageClass);
  await admin.create(resources.NAMESPACE, { metadata: { name: NS } });
  await admin.apply(
    NETWORK_CONFIG,
    {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'NetworkConfig',
      metadata: { name: 'default' },
      spec: { podCIDRs: ['10.244.0.0/16'] },
    } as never,
    { fieldManager: 'test', force: true },
  );
  await makeHomeNode(admin);
  await makeWebhook(admin).catch(() => {});
  for (const name of Object.keys(IDS)) await makePeer(admin, name, await freePort());
  const token = await controllerToken(admin);
  const { cert: _cert, key: _key, ...access } = server.access;
  client = createKubeClient({ ...access, token: () => Promise.resolve(token) });
  const peers = Object.entries(IDS).map(([name, id]) => createFakePeer(name, id, term.signal));
  [east, west] = peers as [FakePeer, FakePeer];
  for (const peer of peers) {
    play(peer);
    peer.tell(VOLUME_STATUS).complete = true;
    peer.tell(VOLUMES).complete = true;
  }
  const deps = {
    ...homeDeps(client, (line) => events.push(line), term.signal),
    image: 'fluvia:test',
    // A place is given ten seconds, a provisioner thirty: here they are short ones.
    clock: fastClock(8),
  };
  const links = createFakeLinks(peers);
  await startStorage(deps, links, 'h'.repeat(26), term.signal);
  await startConsumer(deps, links, 'h'.repeat(26), term.signal);
  const labels = { [LABELS.offload]: 'true' };
  await admin.patch(resources.NAMESPACE, NS, undefined, { metadata: { labels } }, { type: 'merge' });
  await waitUntil('both peers are asked', () => peers.every((peer) => peer.sent(NAMESPACES).items.has(NS)));
  open(east);
}, 180_000);

afterAll(async () => {
  term.abort();
  provisioner?.stop();
  await client?.close();
  await admin?.close();
  await server?.stop();
});

describe('a volume that its peer can not make', () => {
  let first: ReadonlySet<string | undefined> = new Set();
  const uidsOf = async (app: string) => new Set((await podsOf(app)).map(({ metadata }) => metadata.uid));

  it('waits there, and says why, while nothing else fits', async () => {
    stories.set('east/web', noClass);
    await makeApp('web', 2);
    await waitUntil('both of its pods are bound to east', () => runsAt('web', 'fluvia-east', 2));
    first = await uidsOf('web');
    await waitUntil('it is refused', async () =>
      ((await volumeOf('web'))?.metadata.annotations?.[STORAGE_ANNOTATIONS.refused] ?? '').includes('east'),
    );
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await uidsOf('web')).toEqual(first);
    expect(await conditionOf('web')).toMatchObject({ status: 'False', reason: 'NoStorageClass' });
  });

  it('is made at another peer once one fits, and its pods go there', async () => {
    open(west);
    await waitUntil('they are bound to west', () => runsAt('web', 'fluvia-west', 2), 60_000);
    expect((await uidsOf('web')).isDisjointFrom(first)).toBe(true);
    const id = await idOf('web');
    expect(west.sent(VOLUMES).items.get(id)?.state).toBe('active');
    await waitUntil('east is told nothing of it any more', () => !east.sent(VOLUMES).items.has(id));
    expect((await claimOf('web'))?.status?.phase).toBe('Bound');
    await waitUntil('the claim says so', async () => (await conditionOf('web'))?.status === 'True');
    expect((await conditionOf('web'))?.message).toContain('at peer west');
    expect([...new Set(events.filter((line) => line.startsWith('web PlacedAnew')))]).toEqual([
      expect.stringMatching(/^web PlacedAnew: .*east.*no default StorageClass.*west/),
    ]);
    expect([...doubles]).toEqual([]);
  });

  it('never leaves a peer that made it after all', async () => {
    // Made in the very moment in which home wants it back.
    stories.set('east/late', ({ state }) =>
      state === 'active'
        ? { phase: 'Pending', reason: 'ProvisioningFailed', message: 'out of space' }
        : { phase: 'Bound', storageClass: 'local-path', capacity: '1Gi' },
    );
    west.tell(TWINS).delete(NS);
    await makeApp('late');
    await waitUntil('it is bound to east', () => runsAt('late', 'fluvia-east'));
    const uid = (await podsOf('late'))[0]?.metadata.uid;
    open(west);
    await waitUntil(
      'its pod is made again',
      async () => (await podsOf('late'))[0]?.metadata.uid !== uid,
      60_000,
    );
    stories.set('east/late', BOUND);
    await waitUntil('it is bound to east again', () => runsAt('late', 'fluvia-east'), 60_000);
    const { annotations = {} } = (await volumeOf('late'))?.metadata ?? {};
    expect(annotations[STORAGE_ANNOTATIONS.location]).toBe('east');
    expect(annotations[STORAGE_ANNOTATIONS.anew]).toBeUndefined();
    expect(west.sent(VOLUMES).items.has(await idOf('late'))).toBe(false);
    expect([...doubles]).toEqual([]);
  });

  const refusedBy = async (name: string): Promise<readonly string[]> =>
    Object.keys(
      JSON.parse(
        (await volumeOf(name))?.metadata.annotations?.[STORAGE_ANNOTATIONS.refused] ?? '{}',
      ) as object,
    ).toSorted();

  it('stays when no place can make it, and goes on as soon as that place can', async () => {
    for (const name of ['none', 'back']) {
      for (const peer of ['east', 'west']) stories.set(`${peer}/${name}`, noClass);
      await makeApp(name);
    }
    for (const name of ['none', 'back'])
      await waitUntil('both refused', async () => (await refusedBy(name)).join() === 'east,west', 60_000);
    const node = (await podsOf('none'))[0]?.spec.nodeName ?? '';
    expect(['fluvia-east', 'fluvia-west']).toContain(node);
    const peer = node === 'fluvia-east' ? east : west;
    const id = await idOf('none');
    const { uid = '' } = peer.sent(VOLUMES).items.get(id) ?? {};
    stories.set(`${peer.link.peer}/none`, BOUND);
    peer.tell(VOLUME_STATUS).set(id, { uid, state: 'active', phase: 'Bound', capacity: '1Gi' });
    await waitUntil('it is there', async () => (await conditionOf('none'))?.status === 'True');
    expect(await runsAt('none', node)).toBe(true);
    await waitUntil('nothing is held against anybody', async () => (await refusedBy('none')).length === 0);
  });

  it('comes home, once home can make it', async () => {
    provisioner = await startProvisioner({ admin });
    await waitUntil('it is bound to home', () => runsAt('back', 'n1'), 60_000);
    const { metadata, spec } = (await volumeOf('back')) ?? {};
    expect(metadata?.annotations).toMatchObject({ [STORAGE_ANNOTATIONS.location]: '@home' });
    expect(JSON.stringify(spec?.['local'])).toContain('/disk/');
    expect((await claimOf('back'))?.status?.phase).toBe('Bound');
    const id = await idOf('back');
    for (const peer of [east, west]) expect(peer.sent(VOLUMES).items.has(id)).toBe(false);
    expect([...doubles]).toEqual([]);
  });
});

const conditionOf = async (name: string) =>
  ((await claimOf(name))?.status?.conditions ?? []).find(({ type }) => type === 'fluvia.dev/Volume');
