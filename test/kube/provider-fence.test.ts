import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHADOW_STATUS, TWINS } from '../../api/collections.ts';
import { FENCE_ANSWERS, FENCE_ASKS, FENCE_ID } from '../../api/fence-collections.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { POD, pathOf } from '../../runtime/kube/resources.ts';
import { sleep } from '../testbed/processes.ts';
import { FABRIC_NODE, make, SHADOW_POD, tellAll } from './provider-setup.ts';
import { fluvia, setUp, shadow, until, type Stage } from './provider-stage.ts';

/** The fence's provider side on a real API server; home is in memory. Told in order. */
let stage: Stage;
beforeAll(async () => {
  stage = await setUp();
  stage.open('shop', { mapping: 'auto', sharedWith: [] });
  await until('twin', () => stage.run().peer.heard(TWINS).items.get('shop')?.ready === true);
  await make(
    stage.admin,
    FABRIC_NODE,
    fluvia('FabricNode', 'n1', {
      nodeAddress: '127.0.0.1',
      podRanges: ['10.244.0.0/24'],
      externalAddress: '10.70.0.1',
    }),
  );
});
afterAll(() => stage?.tearDown());

const asksOf = () => stage.run().peer.heard(FENCE_ASKS).items.get(FENCE_ID)?.asks ?? {};
const controllerAsk = (): number => asksOf()['controller'] ?? 0;
/** Home's answer to the newest asks. */
const answer = (...pods: string[]): void =>
  stage.run().peer.told(FENCE_ANSWERS).set(FENCE_ID, { asks: asksOf(), leaseSeconds: 20, pods });
const fencePod = (uid: string) =>
  shadow(
    uid,
    {
      containers: [{ name: 'db', image: 'db:1' }],
      initContainers: [{ name: 'own', image: 'db:1' }],
      terminationGracePeriodSeconds: 60,
    },
    { fence: { stopSeconds: 15 } },
  );
const bind = (name: string) =>
  stage.admin.request('POST', pathOf(POD, 'shop', name, 'binding'), {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name },
    target: { apiVersion: 'v1', kind: 'Node', name: 'n1' },
  });
const nodeFence = async () => (await stage.admin.get<FabricNode>(FABRIC_NODE, 'n1'))?.spec.fence;
/** As the kubelet when the containers have stopped. */
const kubeletEnds = async (name: string): Promise<void> => {
  const pod = await stage.pod(name);
  await stage.admin.delete(POD, name, 'shop', { uid: pod?.metadata.uid, gracePeriodSeconds: 0 });
};

describe('a fence pod at its provider', () => {
  it('is not made without a lease, and asks for one', async () => {
    expect(controllerAsk()).toBe(0);
    stage.ask('shop/db-0', fencePod('u-db-0'));
    stage.ask('shop/db-1', fencePod('u-db-1'));
    await until('it waits', () => stage.statusOf('shop/db-0')?.reason === 'FenceClosed');
    await until('an ask', () => controllerAsk() > 0);
    await sleep(500);
    expect(await stage.pod('db-0')).toBeUndefined();
  });

  it('is made once home lists it, behind an init container that home never sees', async () => {
    answer('u-db-0', 'u-db-1');
    await until('the pod', async () => (await stage.pod('db-0')) !== undefined);
    const pod = await stage.pod('db-0');
    const names = (pod?.spec.initContainers ?? []).map((one) => [one.name, one.image]);
    expect(names).toEqual([
      ['fluvia-fence', 'fluvia.local/fluvia:test'],
      ['own', 'db:1'],
    ]);
    await stage.setPodStatus('db-0', {
      phase: 'Running',
      initContainerStatuses: ['fluvia-fence', 'own'].map((name) => ({
        name,
        ready: true,
        restartCount: 0,
        image: 'x',
        imageID: 'x',
        state: { terminated: { exitCode: 0 } },
      })),
    });
    await until('Running', () => stage.statusOf('shop/db-0')?.status?.['phase'] === 'Running');
    expect(JSON.stringify(stage.statusOf('shop/db-0'))).not.toContain('fluvia-fence');
  });

  it("passes the node's own ask on, and the answer back", async () => {
    await until('the other pod', async () => (await stage.pod('db-1')) !== undefined);
    await bind('db-0');
    await bind('db-1');
    await until('the node is told that it has such pods', async () => (await nodeFence())?.length === 1);
    await stage.admin.patch(
      FABRIC_NODE,
      'n1',
      undefined,
      { status: { fenceAsk: 5 } },
      { type: 'merge', subresource: 'status' },
    );
    await until('its ask', () => asksOf()['node/n1'] === 5);
    answer('u-db-0', 'u-db-1');
    await until('the answer', async () => (await nodeFence())?.[0]?.ask === 5);
    expect((await nodeFence())?.[0]).toMatchObject({ leaseSeconds: 20, pods: ['u-db-0', 'u-db-1'] });
  });

  it('runs on while the lease lives, and stops within S when it ends', async () => {
    await until('a fresh ask', () => {
      answer('u-db-0', 'u-db-1');
      return true;
    });
    stage.run().peer.setUp(false);
    stage.run().skip(10_000);
    await sleep(700);
    expect((await stage.pod('db-0'))?.metadata.deletionTimestamp).toBeUndefined();
    stage.run().skip(10_000);
    for (const name of ['db-0', 'db-1'])
      await until('it stops', async () => (await stage.pod(name))?.metadata.deletionTimestamp !== undefined);
    // Its own grace would be 60 s.
    expect((await stage.pod('db-0'))?.metadata.deletionGracePeriodSeconds).toBe(13);
    await kubeletEnds('db-0');
    await kubeletEnds('db-1');
    await sleep(700);
    expect(await stage.pod('db-0')).toBeUndefined();
    expect(await stage.admin.get<ShadowPod>(SHADOW_POD, 'db-0', 'shop')).toBeDefined();
  });

  it('on return is made again only if home still lists it', async () => {
    const before = controllerAsk();
    stage.run().peer.setUp(true);
    await until('a new ask', () => controllerAsk() > before);
    // db-0 was released: its item has not been withdrawn yet, which comes on another stream.
    answer('u-db-1');
    await until('the other', async () => (await stage.pod('db-1')) !== undefined);
    await sleep(500);
    expect(await stage.pod('db-0')).toBeUndefined();
    stage.withdraw('shop/db-0');
    await until(
      'no trace',
      async () => (await stage.admin.get<ShadowPod>(SHADOW_POD, 'db-0', 'shop')) === undefined,
    );
    await until('no status', () => !stage.run().peer.heard(SHADOW_STATUS).items.has('shop/db-0'));
  });

  it('runs on under a new leader that gets its lease in time', async () => {
    const uid = (await stage.pod('db-1'))?.metadata.uid;
    await stage.restart();
    tellAll(stage.run(), stage.wishes);
    await until('the new leader asks', () => controllerAsk() > 0);
    answer('u-db-1');
    await sleep(4000);
    const pod = await stage.pod('db-1');
    expect([pod?.metadata.uid, pod?.metadata.deletionTimestamp]).toEqual([uid, undefined]);
  });

  it('stops under a new leader that is cut off', async () => {
    const uid = (await stage.pod('db-1'))?.metadata.uid;
    await stage.restart();
    stage.run().peer.setUp(false);
    // It is bound to no node, so its end is at once.
    await until('it stops', async () => (await stage.pod('db-1'))?.metadata.uid !== uid);
    await sleep(700);
    expect(await stage.pod('db-1')).toBeUndefined();
  });
});
