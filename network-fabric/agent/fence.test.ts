import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import { fetchAgentLeases } from '../../offloading/provider/agent-leases.ts';
import { systemClock } from '../../runtime/clock.ts';
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
    const base = `http://127.0.0.1:${responder.port()}`;
    const statusOf = async (path: string, init?: RequestInit): Promise<number> =>
      (await fetch(`${base}${path}`, init)).status;
    expect(await statusOf(`/lease/${HOME}/u-1`)).toBe(200);
    expect(await statusOf(`/lease/${HOME}/u-2`)).toBe(403);
    expect(await statusOf('/lease/../u-1')).toBe(404);
    const ask = (body: string): Promise<Response> => fetch(`${base}/leases`, { method: 'POST', body });
    const left = async (asked: unknown): Promise<unknown> => (await ask(JSON.stringify(asked))).json();
    expect(await left({ [HOME]: ['u-1', 'u-2'] })).toEqual({ [HOME]: { 'u-1': 19_950 } });
    // as a new leader of this cluster asks
    const { signal } = new AbortController();
    const heard = await fetchAgentLeases('127.0.0.1', { [HOME]: ['u-1'] }, signal, responder.port());
    expect(heard).toEqual(new Map([[HOME, new Map([['u-1', 19_950]])]]));
    // nothing is told of what the caller can't name
    expect(await left({})).toEqual({});
    expect(await left({ [HOME]: ['u-2'], ['x'.repeat(26)]: ['u-1'], __proto__: ['u-1'] })).toEqual({});
    expect(await statusOf('/leases')).toBe(405);
    for (const wrong of [
      '',
      '[',
      '"x"',
      'null',
      `{"${HOME}":"u-1"}`,
      `{"${HOME}":[1]}`,
      ' '.repeat(2 ** 20 + 1),
    ])
      expect((await ask(wrong)).status).toBe(400);
  });

  it('is kept from nobody by an address that holds connections open', async () => {
    responder = createFenceResponder(
      createNodeFence(() => 0),
      0,
      (error) => {
        throw error;
      },
    );
    responder.serve('0.0.0.0');
    while (responder.port() === 0) await systemClock.sleep(5);
    const port = responder.port();
    const held = Array.from({ length: 400 }, () =>
      connect({ host: '127.0.0.1', port, localAddress: '127.0.0.9' }).on('error', () => undefined),
    );
    const closed = Promise.all(
      held.map(
        (socket) => new Promise<void>((resolve) => void socket.resume().once('close', () => resolve())),
      ),
    );
    const isOpen = (socket: Socket): boolean => !socket.destroyed && socket.readyState === 'open';
    await vi.waitFor(() => expect(held.filter((socket) => !socket.connecting)).toHaveLength(400));
    await vi.waitFor(() => expect(held.filter(isOpen).length).toBeLessThanOrEqual(16));
    expect((await fetch(`http://127.0.0.1:${port}/lease/${HOME}/u`)).status).toBe(403);
    // those that say nothing are ended soon
    await closed;
  }, 10_000);
});
