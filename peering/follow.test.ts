import { describe, expect, it, vi, type TestContext } from 'vitest';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { NAMESPACES, SHADOWS, SHADOW_STATUS } from '../api/collections.ts';
import type { Condition } from '../api/conditions.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import { peeringServices } from '../proto/load.ts';
import type { FollowEvent, FollowRequest, Have } from '../proto/peering.ts';
import { startFakeCluster, type FakeCluster } from './clusters.fake.ts';
import { tellProblem } from './follow-call.ts';
import { createGrpcClient, type GrpcClient } from './grpc-client.ts';
import { serveOnSocket } from './grpc-server.ts';
import { loadIdentity } from './identity.ts';
import { ALPN, BUILD_VERSION, LIMITS } from './protocol.ts';
import { createInvite, requestJoin } from './requests.ts';
import { PEER } from './resources.ts';
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

const conditionOf = (where: FakeCluster, peer: string, type: string): Condition | undefined =>
  where.kube
    .all<Peer>(PEER)
    .find(({ metadata }) => metadata.name === peer)
    ?.status?.conditions?.find((condition) => condition.type === type);

/** Serves `east` as `hostile`, with namespaces without end; gives the problems that it is told. */
const flood = async (finish: Finish, east: FakeCluster, hostile: FakeCluster): Promise<string[]> => {
  const identity = await loadIdentity(hostile.kube.client, {
    namespace: 'fluvia-system',
    clusterName: 'hostile',
  });
  const problems: string[] = [];
  type Call = ServerDuplexStream<FollowRequest, FollowEvent>;
  const json = Buffer.from(
    JSON.stringify({ mapping: 'auto', sharedWith: Array(250).fill(identity.clusterID) }),
  );
  const send = (call: Call): void => {
    for (let n = 0; n < 950; n += 1) call.write({ set: { id: `n${n}`, hash: Buffer.alloc(16), json } });
  };
  const implementation = {
    Hello: (_call: unknown, callback: (error: null, answer: object) => void) =>
      callback(null, {
        clusterId: identity.clusterID,
        name: 'hostile',
        version: BUILD_VERSION,
        protocol: 1,
        features: [],
        leaderTransitions: 9,
        clusterUid: identity.clusterUID,
      }),
    Ping: (_call: unknown, callback: (error: null, answer: object) => void) => callback(null, {}),
    Leave: (_call: unknown, callback: (error: null, answer: object) => void) => callback(null, {}),
    ContainerStream: (call: Call) => call.end(),
    Follow: (call: Call) => {
      call.on('error', () => {});
      call.on('data', (request: FollowRequest) => {
        if (request.collection !== NAMESPACES.name) return;
        problems.push(request.problem ?? '');
        if (request.ready) send(call);
      });
      call.on('end', () => call.end());
    },
  };
  const { socket } = await dialPinned(
    east.endpoint,
    ALPN.serve,
    [east.peering.identity.pin],
    identity,
    never,
  );
  finish(() => void socket.destroy());
  serveOnSocket(socket, [{ definition: peeringServices().fabric, implementation }], {
    messageBytes: LIMITS.messageBytes,
    streams: 100,
  });
  return problems;
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

  it('is heard when it can’t follow, and when it can again', async ({ onTestFinished }) => {
    const { east, client } = await greeted(onTestFinished);
    const tell = (problem: string) => tellProblem(client, NAMESPACES, problem).then(() => 'told' as const);
    const valid = () => conditionOf(east, 'home', 'ItemsValid');
    expect(await tell('no room (open less)')).toBe('told');
    await eventually(() =>
      expect(valid()).toMatchObject({
        status: 'False',
        message: 'The peer does not take namespaces: no room (open less)',
      }),
    );
    await tell('');
    await eventually(() => expect(valid()).toMatchObject({ status: 'True' }));
  });
});

describe('a publisher', { timeout: 60_000 }, () => {
  it('that never stops is cut off, both sides say so, and other links are not touched', async ({
    onTestFinished,
  }) => {
    const [east, home, hostile] = [
      await cluster(onTestFinished, 'east'),
      await cluster(onTestFinished, 'home'),
      await cluster(onTestFinished, 'hostile'),
    ];
    for (const dialler of [home, hostile]) {
      const { token } = await createInvite(east.kube.client, { endpoints: [east.endpoint] });
      await requestJoin(dialler.kube.client, token, { timeoutMs: 10_000 });
      await eventually(() => expect(east.peering.links.get(dialler.name)?.isUp()).toBe(true));
    }
    await hostile.stop();
    const problems = await flood(onTestFinished, east, hostile);
    east.peering.links.get('hostile')!.follow(NAMESPACES);
    const heard = east.peering.links.get('home')!.follow(NAMESPACES);
    await eventually(() =>
      expect(problems.find((text) => text !== '')).toMatch(/more than 8 MiB of namespaces/),
    );
    await eventually(() =>
      expect(conditionOf(east, 'hostile', 'ItemsValid')).toMatchObject({
        status: 'False',
        message:
          'the peer publishes more than 8 MiB of namespaces (the other cluster must open less to this one)',
      }),
    );
    home.peering.links.get('east')!.publish(NAMESPACES).set('shop', { mapping: 'auto', sharedWith: [] });
    await eventually(() => expect(heard.get('shop')).toBeDefined());
    expect(conditionOf(east, 'home', 'ItemsValid')).toMatchObject({ status: 'True' });
  });
});
