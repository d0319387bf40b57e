import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LABELS } from '../../api/labels.ts';
import { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import { volumeNodeLabel } from '../../api/storage-names.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';
import type { Node } from '../../runtime/kube/types.ts';
import { startStorage } from '../../storage-fabric/start.ts';
import { volumeIdOf } from '../../storage-fabric/volumes/volume-id.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';
import { IDS, setUpStorage, until, type StorageStage } from './storage-stage.ts';

/**
 * Both sides of volumes on a real API server, scheduler and controller-manager, with the rights of the installation; peers
 * are in memory. Told in order: each test stands on the ones before it.
 */
let stage: StorageStage;
let east: FakePeer;

const idOf = async (name: string): Promise<string> =>
  volumeIdOf((await stage.claimOf(name))?.metadata.uid ?? '');

beforeAll(async () => {
  stage = await setUpStorage();
  ({ east } = stage);
  east.tell(VOLUME_STATUS).complete = true;
  east.tell(VOLUMES).complete = true;
  await startStorage(stage.deps, createFakeLinks([east]), 'h'.repeat(26), stage.signal);
}, 180_000);

afterAll(() => stage?.tearDown());

describe('home', () => {
  it('binds a claim where its first pod lands, and tells that peer', async () => {
    await stage.makeClaim('data');
    await stage.makePod('first', 'data', { [LABELS.peer]: 'east' });
    await until(
      'the pod is bound',
      async () => (await stage.nodeOfPod('first'))?.startsWith('east-') === true,
    );
    const claim = await stage.claimOf('data');
    expect(claim?.status?.phase).toBe('Bound');
    const id = await idOf('data');
    expect(claim?.spec.volumeName).toBe(`fluvia-${id}`);
    await until('it is published', () => east.sent(VOLUMES).items.has(id));
    expect(east.sent(VOLUMES).items.get(id)).toMatchObject({
      namespace: 'shop',
      claimName: 'data',
      size: '1Gi',
      epoch: 1,
      state: 'active',
    });
    const { items } = await stage.admin.list<Node>(resources.NODE);
    const labelled = items.filter((node) => node.metadata.labels?.[volumeNodeLabel(id)] === 'true');
    expect(labelled.map((node) => node.metadata.name).toSorted()).toEqual(['east-a', 'east-b']);
  });

  it('shows what the peer says on the claim', async () => {
    const id = await idOf('data');
    const uid = (await stage.claimOf('data'))?.metadata.uid ?? '';
    east.tell(VOLUME_STATUS).set(id, { uid, phase: 'Bound', storageClass: 'local-path', capacity: '1Gi' });
    await until('the condition is true', async () =>
      ((await stage.claimOf('data'))?.status?.conditions ?? []).some(
        ({ type, status, message }) =>
          type === 'fluvia.dev/Volume' && status === 'True' && message?.includes('east (class local-path'),
      ),
    );
  });

  it('remembers that it was there, and sends nobody to a peer that has it no more', async () => {
    const id = await idOf('data');
    await until('the peer is told', () => east.sent(VOLUMES).items.get(id)?.mustExist === true);
    const uid = (await stage.claimOf('data'))?.metadata.uid ?? '';
    east.tell(VOLUME_STATUS).set(id, { uid, phase: 'Failed', reason: 'Lost', message: 'deleted' });
    const labelled = async (): Promise<number> =>
      (await stage.admin.list<Node>(resources.NODE)).items.filter(
        (node) => node.metadata.labels?.[volumeNodeLabel(id)] === 'true',
      ).length;
    await until('no node has it', async () => (await labelled()) === 0);
    await until('the claim says what to do', async () =>
      ((await stage.claimOf('data'))?.status?.conditions ?? []).some(
        ({ type, reason, message }) =>
          type === 'fluvia.dev/Volume' && reason === 'Lost' && message?.includes('delete the claim'),
      ),
    );
    east.tell(VOLUME_STATUS).set(id, { uid, phase: 'Bound', storageClass: 'local-path', capacity: '1Gi' });
    await until('it is offered again', async () => (await labelled()) === 2);
  });

  it('lets later pods follow the volume', async () => {
    await stage.makePod('second', 'data');
    await until('it is bound', async () => (await stage.nodeOfPod('second')) !== undefined);
    expect(await stage.nodeOfPod('second')).toMatch(/^east-/);
  });

  it('has a new leader tell the peer to keep what it has where the word is lost', async () => {
    const id = await idOf('data');
    const place = (location: string | null): Promise<unknown> =>
      stage.admin.patch(
        resources.PERSISTENT_VOLUME,
        `fluvia-${id}`,
        undefined,
        { metadata: { annotations: { 'fluvia.dev/location': location } } },
        { type: 'merge' },
      );
    await place(null);
    await until('the claim says so', async () =>
      ((await stage.claimOf('data'))?.status?.conditions ?? []).some(
        ({ reason, message }) => reason === 'Lost' && message?.includes('put it back'),
      ),
    );
    expect(east.sent(VOLUMES).items.get(id)?.state).toBe('active');
    // A process that has said nothing yet.
    const term = new AbortController();
    const anew = createFakePeer('east', IDS.east, term.signal);
    anew.tell(VOLUME_STATUS).complete = true;
    anew.tell(VOLUMES).complete = true;
    try {
      await startStorage(stage.deps, createFakeLinks([anew]), 'h'.repeat(26), term.signal);
      await until('everything is told', () => anew.sent(VOLUMES).complete);
      expect(anew.sent(VOLUMES).items.get(id)).toMatchObject({ claimName: 'data', state: 'unknown' });
      await place('east');
      await until('it is active again', () => anew.sent(VOLUMES).items.get(id)?.state === 'active');
    } finally {
      term.abort();
    }
  });

  it('takes a choice for a node of home back where home has no class, and says why', async () => {
    await stage.makeClaim('stay');
    await stage.makePod('stay', 'stay', { 'kubernetes.io/hostname': 'n1' });
    await until('it is said', async () =>
      ((await stage.claimOf('stay'))?.status?.conditions ?? []).some(
        ({ reason }) => reason === 'NoStorageClass',
      ),
    );
    expect(stage.events).toContain('NoStorageClass');
    expect((await stage.claimOf('stay'))?.status?.phase).toBe('Pending');
    await stage.admin.delete(resources.POD, 'stay', 'shop', { gracePeriodSeconds: 0 });
  });

  it('deletes the volume at the peer with its claim, once nothing uses it', async () => {
    const id = await idOf('data');
    await stage.admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'data', 'shop');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(east.sent(VOLUMES).items.has(id)).toBe(true);
    for (const name of ['first', 'second'])
      await stage.admin.delete(resources.POD, name, 'shop', { gracePeriodSeconds: 0 });
    await until('it is withdrawn', () => !east.sent(VOLUMES).items.has(id));
    // the peer still has it
    expect(
      await stage.admin.get<PersistentVolume>(resources.PERSISTENT_VOLUME, `fluvia-${id}`),
    ).toBeDefined();
    east.tell(VOLUME_STATUS).delete(id);
    await until(
      'the placeholder is gone',
      async () => (await stage.admin.get(resources.PERSISTENT_VOLUME, `fluvia-${id}`)) === undefined,
    );
    await until('the labels are gone', async () => {
      const { items } = await stage.admin.list<Node>(resources.NODE);
      return items.every((node) => node.metadata.labels?.[volumeNodeLabel(id)] === undefined);
    });
  });
});

/** What a provisioner says of claim `db` in the twin, `minute` minutes past the hour. */
const warn = (uid: string, note: string, minute: number) =>
  stage.admin.create(resources.EVENT, {
    metadata: { name: `db.${minute}`, namespace: 'shop-east' },
    type: 'Warning',
    reason: 'ProvisioningFailed',
    action: 'Provision',
    note,
    eventTime: `2036-11-25T00:0${minute}:00.000000Z`,
    reportingController: 'test',
    reportingInstance: 'test',
    regarding: {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      name: 'db',
      namespace: 'shop-east',
      uid,
    },
  } as never);

describe('the peer', () => {
  const item = {
    namespace: 'store',
    claimName: 'db',
    uid: 'u1',
    size: '1Gi',
    accessModes: ['ReadWriteOnce' as const],
    volumeMode: 'Filesystem' as const,
    epoch: 1,
    state: 'active' as const,
  };
  const id = volumeIdOf('u1');

  it('says that it has no class to make it with', async () => {
    east.tell(VOLUMES).set(id, item);
    await until('it failed', () => east.sent(VOLUME_STATUS).items.get(id)?.reason === 'NoStorageClass');
  });

  it('claims it in the twin with the default class, and reports it bound', async () => {
    await stage.admin.create(resources.STORAGE_CLASS, {
      metadata: {
        name: 'plain',
        annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
      },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'Immediate',
    } as never);
    await until('it is claimed', async () => (await stage.claimOf('db', 'shop-east')) !== undefined);
    const claim = await stage.claimOf('db', 'shop-east');
    expect(claim?.spec.storageClassName).toBe('plain');
    expect(claim?.metadata.annotations?.['fluvia.dev/volume-state']).toBe('active');
    await warn('an-earlier-uid', 'of a claim that had the name before', 1);
    await warn(claim?.metadata.uid ?? '', 'the disk is full', 3);
    await warn(claim?.metadata.uid ?? '', 'the disk is slow', 2);
    await until(
      'the provisioner is heard',
      () => east.sent(VOLUME_STATUS).items.get(id)?.reason !== undefined,
    );
    expect(east.sent(VOLUME_STATUS).items.get(id)).toMatchObject({
      phase: 'Pending',
      state: 'active',
      reason: 'ProvisioningFailed',
      message: 'the disk is full',
    });
    await stage.admin.create(resources.PERSISTENT_VOLUME, {
      metadata: { name: 'disk' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'plain',
        hostPath: { path: '/nowhere' },
      },
    } as never);
    await until('it is bound', () => east.sent(VOLUME_STATUS).items.get(id)?.phase === 'Bound');
  });

  it('makes no empty one in the stead of one that somebody deleted; a restore makes it', async () => {
    east.tell(VOLUMES).set(id, { ...item, mustExist: true });
    await stage.admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'db', 'shop-east');
    await until('it is said', () => east.sent(VOLUME_STATUS).items.get(id)?.reason === 'Lost');
    expect(await stage.claimOf('db', 'shop-east')).toBeUndefined();
    east.tell(VOLUMES).set(id, { ...item, mustExist: true, state: 'restoring' });
    await until('it is claimed', async () => (await stage.claimOf('db', 'shop-east')) !== undefined);
  });

  it('keeps epoch and state on the claim', async () => {
    east.tell(VOLUMES).set(id, { ...item, epoch: 2, state: 'retained' });
    await until('it is written', async () => {
      const { annotations = {} } = (await stage.claimOf('db', 'shop-east'))?.metadata ?? {};
      return annotations['fluvia.dev/epoch'] === '2' && annotations['fluvia.dev/volume-state'] === 'retained';
    });
  });

  it('touches no claim of another', async () => {
    await stage.makeClaim('own', 'shop-east', 'plain');
    const other = volumeIdOf('u2');
    east.tell(VOLUMES).set(other, { ...item, claimName: 'own', uid: 'u2' });
    await until('it is refused', () => east.sent(VOLUME_STATUS).items.get(other)?.reason === 'Conflict');
    east.tell(VOLUMES).delete(other);
    await until('it is forgotten', () => !east.sent(VOLUME_STATUS).items.has(other));
    expect(await stage.claimOf('own', 'shop-east')).toBeDefined();
  });

  it('deletes the claim when home withdraws it', async () => {
    east.tell(VOLUMES).delete(id);
    await until('it is gone', async () => {
      const claim = await stage.claimOf('db', 'shop-east');
      return claim === undefined;
    });
    await until('it is forgotten', () => !east.sent(VOLUME_STATUS).items.has(id));
  });
});
