import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it, vi, type TestContext } from 'vitest';
import { NAMESPACES } from '../api/collections.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import { peeringServices } from '../proto/load.ts';
import { startFakeCluster, type FakeCluster } from './clusters.fake.ts';
import { createGrpcClient, type GrpcClient } from './grpc-client.ts';
import { generateKeyPair, identityOf, loadIdentity, type Identity } from './identity.ts';
import { createFakeKube } from './kube.fake.ts';
import { ALPN, BUILD_VERSION } from './protocol.ts';
import { startRelay, type Relay } from './relay.fake.ts';
import { createInvite, requestJoin } from './requests.ts';
import { PEER } from './resources.ts';
import { dialPinned, splitEndpoint, type Alpn } from './tls.ts';

/** What breaks, and what strangers try, on real sockets. */

type Finish = TestContext['onTestFinished'];

const cluster = async (finish: Finish, name: string): Promise<FakeCluster> => {
  const started = await startFakeCluster(name);
  finish(() => started.stop());
  return started;
};

const eventually = <T>(check: () => T): Promise<T> => vi.waitFor(check, { timeout: 25_000, interval: 25 });
const never = new AbortController().signal;

const peerThrough = async (finish: Finish, east: FakeCluster, home: FakeCluster): Promise<Relay> => {
  const relay = await startRelay(east.endpoint);
  finish(() => relay.close());
  const { token } = await createInvite(east.kube.client, { endpoints: [relay.endpoint] });
  await requestJoin(home.kube.client, token, { timeoutMs: 10_000 });
  await eventually(() => expect(bothUp(east, home)).toBe(true));
  return relay;
};

const bothUp = (east: FakeCluster, home: FakeCluster): boolean =>
  (home.peering.links.get('east')?.isUp() ?? false) && (east.peering.links.get('home')?.isUp() ?? false);

const identityIn = (where: FakeCluster): Promise<Identity> =>
  loadIdentity(where.kube.client, { namespace: 'fluvia-system', clusterName: where.name });

const dial = async (
  finish: Finish,
  east: FakeCluster,
  identity: Identity,
  alpn: Alpn,
): Promise<GrpcClient> => {
  const { socket } = await dialPinned(east.endpoint, alpn, [east.peering.identity.pin], identity, never);
  const client = createGrpcClient(socket);
  finish(() => client.destroy());
  return client;
};

const hello = (identity: Identity, leaderTransitions: number) => ({
  clusterId: identity.clusterID,
  name: identity.name,
  version: BUILD_VERSION,
  minProtocol: 1,
  maxProtocol: 1,
  features: [],
  leaderTransitions,
  clusterUid: identity.clusterUID,
});

describe.concurrent('a link', { timeout: 60_000 }, () => {
  it('goes down in a silent partition and comes back by itself with what changed meanwhile', async ({
    onTestFinished,
  }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    const relay = await peerThrough(onTestFinished, east, home);
    const publisher = home.peering.links.get('east')!.publish(NAMESPACES);
    const heard = east.peering.links.get('home')!.follow(NAMESPACES);
    publisher.set('a', { mapping: 'auto', sharedWith: [] });
    publisher.set('b', { mapping: 'auto', sharedWith: [] });
    publisher.markComplete();
    await eventually(() => expect(heard.isComplete()).toBe(true));
    relay.stall();
    await eventually(() => {
      expect(home.peering.links.get('east')?.isUp()).toBe(false);
      expect(east.peering.links.get('home')?.isUp()).toBe(false);
    });
    expect(east.peering.links.get('home')?.silenceMs()).toBeGreaterThan(3000);
    await eventually(() => expect(home.kube.all<Peer>(PEER)[0]?.status?.link?.state).toBe('Down'));
    publisher.set('a', { mapping: 'same', sharedWith: [] });
    publisher.delete('b');
    // What was heard stays while the link is down.
    expect([...heard.entries().keys()]).toEqual(['a', 'b']);
    relay.heal();
    await eventually(() => expect(bothUp(east, home)).toBe(true));
    await eventually(() =>
      expect([...heard.entries()].map(([id, n]) => `${id} ${n.mapping}`)).toEqual(['a same']),
    );
  });

  it('converges though every connection is reset again and again', async ({ onTestFinished }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    const relay = await peerThrough(onTestFinished, east, home);
    const publisher = home.peering.links.get('east')!.publish(NAMESPACES);
    const heard = east.peering.links.get('home')!.follow(NAMESPACES);
    for (let round = 0; round < 8; round += 1) {
      for (let n = 0; n < 100; n += 1) {
        publisher.set(`n${(round * 37 + n) % 300}`, {
          mapping: round % 2 === 0 ? 'auto' : 'same',
          sharedWith: [],
        });
      }
      publisher.delete(`n${round}`);
      await new Promise((resolve) => setTimeout(resolve, 40 + round * 30));
      relay.cut();
    }
    publisher.markComplete();
    await eventually(() => {
      expect(heard.isComplete()).toBe(true);
      expect(new Set(heard.entries().keys())).toEqual(new Set(publisher.ids()));
    });
  });

  it('stays up through a new leader of either side, whose terms only grow', async ({ onTestFinished }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    await peerThrough(onTestFinished, east, home);
    await east.restart();
    await eventually(() => expect(bothUp(east, home)).toBe(true));
    await home.restart();
    await eventually(() => expect(bothUp(east, home)).toBe(true));
    await eventually(() => expect(east.kube.all<Peer>(PEER)[0]?.status?.leaderTransitions).toBe(2));
  });
});

describe.concurrent('the listener', { timeout: 60_000 }, () => {
  it('refuses a leader of a term that is over, and takes a newer one', async ({ onTestFinished }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    await peerThrough(onTestFinished, east, home);
    await home.stop();
    const identity = await identityIn(home);
    const { fabric } = peeringServices();
    const client = await dial(onTestFinished, east, identity, ALPN.call);
    await client.unary(fabric.Hello, hello(identity, 7));
    await expect(client.unary(fabric.Hello, hello(identity, 6))).rejects.toThrow(/term 6 is over/);
    // A leader that starts below raises its own term above what was seen.
    await home.restart();
    await eventually(() => expect(bothUp(east, home)).toBe(true));
    await eventually(() =>
      expect(east.kube.all<Peer>(PEER)[0]?.status?.leaderTransitions).toBeGreaterThan(7),
    );
  });

  it('answers nothing before Hello, and refuses another cluster’s ID', async ({ onTestFinished }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    await peerThrough(onTestFinished, east, home);
    await home.stop();
    const identity = await identityIn(home);
    const { fabric } = peeringServices();
    const client = await dial(onTestFinished, east, identity, ALPN.call);
    await expect(client.unary(fabric.Ping, {})).rejects.toThrow('Hello comes first');
    await expect(client.unary(fabric.Leave, {})).rejects.toThrow('Hello comes first');
    const lie = { ...hello(identity, 9), clusterId: east.peering.clusterID };
    await expect(client.unary(fabric.Hello, lie)).rejects.toThrow(/another cluster ID/);
    expect(east.kube.all(PEER)).toHaveLength(1);
  });

  it('lets a stranger reach Join only, and tells it that it is not peered', async ({ onTestFinished }) => {
    const east = await cluster(onTestFinished, 'east');
    const stranger = identityOf(await generateKeyPair(), 'stranger', 'uid');
    const { fabric, joining } = peeringServices();
    const asPeer = await dial(onTestFinished, east, stranger, ALPN.call);
    await expect(asPeer.unary(fabric.Hello, hello(stranger, 1))).rejects.toMatchObject({
      code: 'FLUVIA_ERR_NOT_PEERED',
    });
    await expect(asPeer.unary(fabric.Ping, {})).rejects.toThrow(/does not implement/);
    const asJoiner = await dial(onTestFinished, east, stranger, ALPN.join);
    await expect(asJoiner.unary(fabric.Hello, hello(stranger, 1))).rejects.toThrow(/does not implement/);
    const nonsense = {
      inviteId: '../x',
      name: 'UPPER',
      clusterUid: '',
      minProtocol: 1,
      maxProtocol: 1,
      offeredFeatures: [],
      chosenProtocol: 1,
      chosenFeatures: [],
      roles: ['Consumer'],
      inviteSignature: Buffer.alloc(0),
      identitySignature: Buffer.alloc(0),
    };
    await expect(asJoiner.unary(joining.Join, nonsense)).rejects.toMatchObject({
      code: 'FLUVIA_ERR_INVITE_INVALID',
    });
    // More than a join needs is refused before it is read.
    const large = { ...nonsense, name: 'x'.repeat(100_000) };
    await expect(asJoiner.unary(joining.Join, large)).rejects.toThrow(/larger than max/);
    const serving = await dial(onTestFinished, east, stranger, ALPN.serve);
    await eventually(() => expect(serving.isOpen()).toBe(false));
  });

  it('drops connections without a key, in older TLS, or that speak no TLS', async ({ onTestFinished }) => {
    const east = await cluster(onTestFinished, 'east');
    const target = splitEndpoint(east.endpoint);
    const closes = (socket: {
      once(event: 'close', listener: () => void): unknown;
      on(event: 'error', listener: () => void): unknown;
    }): Promise<boolean> =>
      new Promise((resolve) => {
        socket.on('error', () => {});
        socket.once('close', () => resolve(true));
      });
    const anonymous = connectTls({ ...target, rejectUnauthorized: false, ALPNProtocols: [ALPN.call] });
    expect(await closes(anonymous)).toBe(true);
    expect(await closes(connectTls({ ...target, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }))).toBe(
      true,
    );
    const plain = connectTcp(target);
    plain.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    expect(await closes(plain)).toBe(true);
    expect(await closes(connectTls({ ...target, rejectUnauthorized: false, ALPNProtocols: ['h2'] }))).toBe(
      true,
    );
  });

  it('is not reached by a dialler that meets another key', async ({ onTestFinished }) => {
    const east = await cluster(onTestFinished, 'east');
    const me = identityOf(await generateKeyPair(), 'me', 'uid');
    await expect(dialPinned(east.endpoint, ALPN.call, ['0'.repeat(64)], me, never)).rejects.toMatchObject({
      code: 'FLUVIA_ERR_PIN_MISMATCH',
    });
    await expect(dialPinned('127.0.0.1:1', ALPN.call, [], me, never)).rejects.toMatchObject({
      code: 'FLUVIA_ERR_UNREACHABLE',
    });
  });
});

describe('the identity', () => {
  it('is made once, also by two replicas that start together', async () => {
    const kube = createFakeKube('east');
    const load = () => loadIdentity(kube.client, { namespace: 'fluvia-system', clusterName: 'east' });
    const [a, b] = await Promise.all([load(), load()]);
    expect(a.pin).toBe(b.pin);
    expect((await load()).certificatePem).toBe(a.certificatePem);
  });

  it('refuses a key that isn’t of its certificate', async () => {
    const [a, b] = [await generateKeyPair(), await generateKeyPair()];
    expect(() => identityOf({ ...a, keyPem: b.keyPem }, 'x', 'u')).toThrow(/no usable key pair/);
    expect(() => identityOf({ certificatePem: '', keyPem: '' }, 'x', 'u')).toThrow(/no usable key pair/);
  });
});
