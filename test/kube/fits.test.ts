import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FITS } from '../../api/fits-collection.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { NODE, POD } from '../../runtime/kube/resources.ts';
import { setUp, shadow, until, type Stage } from './provider-stage.ts';

/** What a provider tells of its real nodes, on a real API server and with the rights that it is installed with. */
let stage: Stage;

const makeNode = async (name: string, cpu: string, spec: Record<string, unknown> = {}): Promise<void> => {
  const labels = { 'kubernetes.io/arch': 'amd64', 'kubernetes.io/hostname': name };
  await stage.admin.create(NODE, { metadata: { name, labels }, spec } as never);
  const amounts = { cpu, memory: '4Gi', pods: '110' };
  const conditions = [
    { type: 'Ready', status: 'True', reason: 'Test', lastTransitionTime: new Date().toISOString() },
  ];
  const status = { capacity: amounts, allocatable: amounts, conditions };
  await stage.admin.patch(NODE, name, undefined, { status }, { type: 'merge', subresource: 'status' });
  // The API server marks new nodes; who takes the mark off is the controller-manager, which isn't here.
  const taints = (spec['taints'] as unknown[] | undefined) ?? null;
  await stage.admin.patch(NODE, name, undefined, { spec: { taints } }, { type: 'merge' });
};

const told = () => stage.run().peer.heard(FITS).items.get('default');
const cpus = (): readonly string[] =>
  (told()?.slots ?? []).map(({ free, count }) => `${count}×${parseQuantity(free['cpu'] ?? '0')}`);

const bind = (name: string, node: string): Promise<unknown> =>
  stage.admin.request('POST', `/api/v1/namespaces/shop/pods/${name}/binding`, {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name },
    target: { apiVersion: 'v1', kind: 'Node', name: node },
  });

beforeAll(async () => {
  stage = await setUp();
});
afterAll(() => stage?.tearDown());

describe('fits', () => {
  it('are real nodes, bounded by the grant; tainted and cordoned ones are none', async () => {
    await until('it is told that there is nothing', () => told() !== undefined);
    expect(told()).toMatchObject({ slots: [], counted: [] });
    await makeNode('a', '500m');
    await makeNode('b', '500m');
    await makeNode('c', '8');
    await makeNode('tainted', '64', { taints: [{ key: 'x', effect: 'NoSchedule' }] });
    await makeNode('cordoned', '64', { unschedulable: true });
    // The grant is of one core and 1Gi.
    await until('three nodes', () => cpus().join() === '1×1,2×0.5');
    expect(told()?.slots[0]).toEqual({
      free: { cpu: '1', memory: '1Gi', pods: '20' },
      count: 1,
      labels: { 'kubernetes.io/arch': 'amd64' },
    });
    expect(stage.run().peer.heard(FITS).complete).toBe(true);
  });

  it('lack what is accepted, bound or not, and name it; within two seconds of the change', async () => {
    stage.open('shop', { mapping: 'auto', sharedWith: [] });
    stage.ask('shop/web', shadow('uid-web'));
    await until('it is counted', () => told()?.counted.join() === 'uid-web');
    // Where it isn't bound yet, it is taken off the roomiest node: of the grant 900m are left.
    await until('room is taken', () => cpus().join() === '1×0.9,2×0.5');
    await until('the pod is made', async () => (await stage.pod('web')) !== undefined);
    const begun = Date.now();
    await bind('web', 'a');
    await until('it is taken off its node', () => cpus().join() === '1×0.9,1×0.5,1×0.4');
    console.log(`told ${Date.now() - begun} ms after the binding`);
    await stage.admin.create(POD, {
      metadata: { name: 'local', namespace: 'default' },
      spec: {
        nodeName: 'b',
        containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '300m' } } }],
      },
    } as never);
    await until('local pods count, too', () => cpus().join() === '1×0.9,1×0.4,1×0.2');
  });

  it('say when room is back', async () => {
    stage.withdraw('shop/web');
    await until('it is being removed', async () => {
      const pod = await stage.pod('web');
      if (pod?.metadata.deletionTimestamp !== undefined)
        await stage.admin.delete(POD, 'web', 'shop', { gracePeriodSeconds: 0 });
      return pod === undefined;
    });
    await until('its room is free', () => cpus().join() === '1×1,1×0.5,1×0.2');
    expect(told()?.counted).toEqual([]);
  });
});
