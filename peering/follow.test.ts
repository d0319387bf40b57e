import { describe, expect, it, vi, type TestContext } from 'vitest';
import { SHADOWS, SHADOW_STATUS } from '../api/collections.ts';
import { peeringServices } from '../proto/load.ts';
import type { FollowEvent, Have } from '../proto/peering.ts';
import { startFakeCluster, type FakeCluster } from './clusters.fake.ts';
import { createGrpcClient, type GrpcClient } from './grpc-client.ts';
import { loadIdentity } from './identity.ts';
import { ALPN, BUILD_VERSION, LIMITS } from './protocol.ts';
import { createInvite, requestJoin } from './requests.ts';
import { dialPinned } from './tls.ts';

/** Followers that a peer wrote itself, over real links. */

type Finish = TestContext['onTestFinished'];

const cluster = async (finish: Finish, name: string): Promise<FakeCluster> => {
  const started = await startFakeCluster(name);
  finish(() => started.stop());
  return started;
};

const eventually = <T>(check: () => T): Promise<T> => vi.waitFor(check, { timeout: 25_000, interval: 25 });
const never = new AbortController().signal;

/** East, which is asked, and a connection of its peer on which Hello was said. */
const greeted = async (
  finish: Finish,
): Promise<{ readonly east: FakeCluster; readonly client: GrpcClient }> => {
  const [east, home] = [await cluster(finish, 'east'), await cluster(finish, 'home')];
  const { token } = await createInvite(east.kube.client, { endpoints: [east.endpoint] });
  await requestJoin(home.kube.client, token, { timeoutMs: 10_000 });
  await eventually(() => expect(east.peering.links.get('home')?.isUp()).toBe(true));
  await home.stop();
  const identity = await loadIdentity(home.kube.client, {
    namespace: 'fluvia-system',
    clusterName: 'home',
  });
  const { socket } = await dialPinned(east.endpoint, ALPN.call, [east.peering.identity.pin], identity, never);
  const client = createGrpcClient(socket);
  finish(() => client.destroy());
  await client.unary(peeringServices().fabric.Hello, {
    clusterId: identity.clusterID,
    name: 'home',
    version: BUILD_VERSION,
    minProtocol: 1,
    maxProtocol: 1,
    features: [],
    leaderTransitions: 7,
    clusterUid: identity.clusterUID,
  });
  return { east, client };
};

/** Follows with what it says it has; resolves with the error that ends it, or the first event. */
const follow = (
  client: GrpcClient,
  collection: string,
  chunks: Iterable<readonly Have[]>,
  isReady = true,
): { readonly first: Promise<FollowEvent | Error | undefined>; readonly end: Promise<Error | undefined> } => {
  const call = client.stream(peeringServices().fabric.Follow);
  const write = async (): Promise<void> => {
    for (const have of chunks) await call.write({ collection, have, ready: false });
    if (isReady) await call.write({ collection, have: [], ready: true });
  };
  const { promise: first, resolve } = Promise.withResolvers<FollowEvent | Error | undefined>();
  const read = async (): Promise<Error | undefined> => {
    try {
      for await (const event of call) resolve(event);
      resolve(undefined);
      return undefined;
    } catch (error) {
      resolve(error as Error);
      return error as Error;
    }
  };
  write().catch(() => undefined);
  return { first, end: read() };
};

const hash = Buffer.alloc(16);

/** Ids of the longest length, in chunks of 700 KB. */
function* longIds(count: number): Generator<readonly Have[]> {
  for (let n = 0; n < count; n += 1000) {
    yield Array.from({ length: 1000 }, (_, i) => ({ id: `${n + i}-`.padEnd(LIMITS.idLength, 'x'), hash }));
  }
}

describe.concurrent('a follower', { timeout: 60_000 }, () => {
  it.for([
    ['a long id', { id: 'x'.repeat(701), hash }, 'an id of 701 characters'],
    ['no id', { id: '', hash }, 'an id of 0 characters'],
    ['a long hash', { id: 'a', hash: Buffer.alloc(65) }, 'a hash of 65 bytes'],
  ] as const)('that says it has %s is refused', async ([_what, have, message], { onTestFinished }) => {
    const { client } = await greeted(onTestFinished);
    const error = await follow(client, SHADOWS.name, [[have]]).end;
    expect(error).toMatchObject({ code: 'FLUVIA_ERR_BAD_INPUT' });
    expect(error?.message).toContain(message);
  });

  it('can’t have more than one connection may hold, in one stream or in many', async ({ onTestFinished }) => {
    const { east, client } = await greeted(onTestFinished);
    const publisher = east.peering.links.get('home')!.publish(SHADOWS);
    publisher.markComplete();
    const error = await follow(client, SHADOWS.name, longIds(100_000)).end;
    expect(error?.message).toContain('has too many items');
    // That stream is over, and what it held was given back.
    const half = [...longIds(20_000)];
    const [one, two] = [
      follow(client, SHADOWS.name, half, false),
      follow(client, SHADOW_STATUS.name, half, false),
    ];
    const loser = await Promise.race([one.end, two.end]);
    expect(loser).toMatchObject({ code: 'FLUVIA_ERR_BAD_INPUT' });
    expect(await follow(client, SHADOWS.name, [[{ id: 'gone', hash }]]).first).toEqual({ delete: 'gone' });
  });

  it('takes the place of the one before on its connection', async ({ onTestFinished }) => {
    const { east, client } = await greeted(onTestFinished);
    east.peering.links.get('home')!.publish(SHADOWS).markComplete();
    const one = follow(client, SHADOWS.name, []);
    expect(await one.first).toEqual({ complete: true });
    const two = follow(client, SHADOWS.name, []);
    expect(await two.first).toEqual({ complete: true });
    expect((await one.end)?.message).toContain('is followed anew');
  });
});
