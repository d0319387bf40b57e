import { afterEach, describe, expect, it } from 'vitest';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import { createFenceResponder, type FenceResponder } from './fence-responder.ts';
import { createNodeFence } from './fence.ts';

const HOME = 'h'.repeat(26);
let now = 0;
const node = (fence?: FabricNode['spec']['fence'], fenceAsk?: number): FabricNode => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'FabricNode',
  metadata: { name: 'n1' },
  spec: {
    nodeAddress: '127.0.0.1',
    podRanges: [],
    externalAddress: '10.70.0.1',
    ...(fence === undefined ? {} : { fence }),
  },
  ...(fenceAsk === undefined ? {} : { status: { fenceAsk } }),
});
const told = (ask: number, ...pods: string[]) => node([{ clusterID: HOME, ask, leaseSeconds: 20, pods }]);

describe('an agent', () => {
  it('asks only while there are such pods, every quarter of the lease', () => {
    now = 100_000;
    const fence = createNodeFence(() => now);
    fence.hear(node());
    expect([fence.askIfDue(), fence.ask()]).toEqual([false, undefined]);
    fence.hear(told(0));
    expect([fence.askIfDue(), fence.ask(), fence.askIfDue()]).toEqual([true, 1, false]);
    now += 5000;
    expect([fence.askIfDue(), fence.ask()]).toEqual([true, 2]);
  });

  it('holds a lease by its own clock, for answers to its own asks', () => {
    now = 100_000;
    const fence = createNodeFence(() => now);
    fence.hear(node([], 8));
    fence.hear(told(0));
    fence.askIfDue();
    fence.hear(told(8, 'u'));
    expect(fence.isLeased(HOME, 'u')).toBe(false);
    now += 15_000;
    fence.hear(told(9, 'u'));
    expect([fence.isLeased(HOME, 'u'), fence.isLeased(HOME, 'v')]).toEqual([true, false]);
    now += 5000;
    expect(fence.isLeased(HOME, 'u')).toBe(false);
  });
});

describe('the responder', () => {
  let responder: FenceResponder | undefined;
  afterEach(() => responder?.close());

  it('says yes or no, and what is left', async () => {
    now = 0;
    const fence = createNodeFence(() => now);
    fence.hear(told(0));
    fence.askIfDue();
    fence.hear(told(1, 'u-1'));
    responder = createFenceResponder(fence, 0, (error) => {
      throw error;
    });
    responder.serve('127.0.0.1');
    while (responder.port() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const get = (path: string) => fetch(`http://127.0.0.1:${responder?.port()}${path}`);
    expect((await get(`/lease/${HOME}/u-1`)).status).toBe(200);
    expect((await get(`/lease/${HOME}/u-2`)).status).toBe(403);
    expect((await get('/lease/../u-1')).status).toBe(404);
    expect(await (await get('/leases')).json()).toEqual({ [HOME]: { 'u-1': 19_950 } });
  });
});
