import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it, vi } from 'vitest';
import { CLAIMS, NAMESPACES, TWINS } from '../api/collections.ts';
import { FluviaError } from '../api/errors.ts';
import { FINALIZERS } from '../api/labels.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { Grant } from '../api/v1alpha1/grant.ts';
import type { Invite } from '../api/v1alpha1/invite.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import { ENDPOINT_SLICE, SECRET, SERVICE_ACCOUNT } from '../runtime/kube/resources.ts';
import { startFakeCluster, type FakeCluster } from './clusters.fake.ts';
import { createInvite, requestJoin, requestUnpeer } from './requests.ts';
import { CLAIM, GRANT, INVITE, PEER, VIRTUAL_NODE } from './resources.ts';
import { formatToken } from './token.ts';

/** Two or three whole peerings in one process over real TLS and gRPC on loopback; only the API servers are fakes. */

type Finish = (cleanup: () => Promise<void>) => void;

const start = async (finish: Finish, ...names: string[]): Promise<FakeCluster[]> => {
  const clusters = await Promise.all(names.map((name) => startFakeCluster(name)));
  finish(async () => {
    await Promise.all(clusters.map((cluster) => cluster.stop()));
  });
  return clusters;
};

const eventually = <T>(check: () => T): Promise<T> => vi.waitFor(check, { timeout: 15_000, interval: 25 });

/** `home` (the consumer, which dials) joins `east` (the provider, which is reachable). */
const peer = async (east: FakeCluster, home: FakeCluster): Promise<string> => {
  const { token } = await createInvite(east.kube.client, { roles: ['Consumer'], endpoints: [east.endpoint] });
  const { fingerprint } = await requestJoin(home.kube.client, token, { timeoutMs: 10_000 });
  await eventually(() => {
    expect(home.peering.links.get(east.name)?.isUp()).toBe(true);
    expect(east.peering.links.get(home.name)?.isUp()).toBe(true);
  });
  return fingerprint;
};

const caught = async (promise: Promise<unknown>): Promise<FluviaError> => {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(FluviaError);
  return error as FluviaError;
};

describe.concurrent('peering', { timeout: 30_000 }, () => {
  it('joins by an invite, comes up, grants capacity and makes a virtual node', async ({ onTestFinished }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    const fingerprint = await peer(east, home);
    await eventually(() => {
      expect(home.kube.all<VirtualNode>(VIRTUAL_NODE).map((n) => n.metadata.name)).toEqual(['fluvia-east']);
      expect(home.kube.all<Claim>(CLAIM)[0]?.status?.granted).toEqual({
        cpu: '3200m',
        memory: '6553Mi',
        pods: '88',
      });
      expect(east.kube.all<Grant>(GRANT).map((g) => g.metadata.name)).toEqual(['home-east']);
      const [atHome] = home.kube.all<Peer>(PEER);
      const [atEast] = east.kube.all<Peer>(PEER);
      expect(atHome?.status?.link?.state).toBe('Up');
      expect(atEast?.status?.link?.state).toBe('Up');
      expect(atHome?.status?.fingerprint).toBe(fingerprint);
      expect(atEast?.status?.fingerprint).toBe(fingerprint);
      expect(atHome?.spec.roles).toEqual(['Provider']);
      expect(atEast?.spec.roles).toEqual(['Consumer']);
    });
    // The used-up invite and the request to join are gone; the peering's account is there.
    expect(east.kube.all(INVITE)).toEqual([]);
    expect(home.kube.all<{ type?: string }>(SECRET).map((s) => s.type)).toEqual(['kubernetes.io/tls']);
    expect(
      east.kube.all<{ metadata: { name: string } }>(SERVICE_ACCOUNT).map((s) => s.metadata.name),
    ).toEqual([home.peering.clusterID]);
    expect(home.kube.all(SERVICE_ACCOUNT)).toEqual([]);
    expect(east.kube.all<{ endpoints: unknown[] }>(ENDPOINT_SLICE)).toHaveLength(1);
  });

  it('follows both ways, whoever dialled, and resumes after a break without telling anything twice', async ({
    onTestFinished,
  }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    const namespaces = home.peering.links.get('east')!.publish(NAMESPACES);
    const heard = east.peering.links.get('home')!.follow(NAMESPACES);
    const told: (string | undefined)[] = [];
    heard.onChange((id) => told.push(id));
    namespaces.set('shop', { mapping: 'auto', sharedWith: [] });
    namespaces.set('__proto__', { mapping: 'same', sharedWith: [] });
    await eventually(() => expect([...heard.entries().keys()].sort()).toEqual(['__proto__', 'shop']));
    expect(heard.isComplete()).toBe(false);
    namespaces.markComplete();
    await eventually(() => expect(heard.isComplete()).toBe(true));
    const twins = east.peering.links.get('home')!.publish(TWINS);
    twins.set('shop', { twin: 'shop', ready: true, reason: 'Ready', message: '' });
    const back = home.peering.links.get('east')!.follow(TWINS);
    await eventually(() => expect(back.get('shop')?.twin).toBe('shop'));

    const before = told.length;
    await home.restart();
    const again = home.peering.links.get('east')!.publish(NAMESPACES);
    await eventually(() => expect(east.peering.links.get('home')?.isUp()).toBe(true));
    // The new leader knows only half yet: nothing is taken away.
    again.set('shop', { mapping: 'auto', sharedWith: [] });
    again.set('new', { mapping: 'auto', sharedWith: [] });
    await eventually(() => expect(heard.get('new')).toBeDefined());
    expect(heard.get('__proto__')).toBeDefined();
    again.markComplete();
    await eventually(() => expect(heard.get('__proto__')).toBeUndefined());
    expect(new Set(told.slice(before))).toEqual(new Set(['__proto__', 'new']));
    expect(told).toHaveLength(before + 2);
  });

  it('carries container streams both ways', async ({ onTestFinished }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    east.peering.links.handleContainerStreams(async (link, request) => {
      expect(link.peer).toBe('home');
      if (request.verb === 'portForward') throw new FluviaError('FLUVIA_ERR_FORBIDDEN', 'not this pod');
      const body = new PassThrough();
      if (request.verb === 'logs') body.end('line 1\nline 2\n');
      return { status: request.verb === 'logs' ? 200 : 101, headers: { upgrade: 'spdy/3.1' }, body };
    });
    const link = home.peering.links.get('east')!;
    const request = {
      namespace: 'shop',
      pod: 'web-0',
      podUID: 'u',
      query: { follow: ['true'] },
      headers: {},
    } as const;
    const never = new AbortController().signal;
    const logs = await link.openContainerStream({ ...request, verb: 'logs' }, never);
    expect(logs.status).toBe(200);
    expect(await text(logs.body)).toBe('line 1\nline 2\n');
    // The echo comes back whole through frames and flow control.
    const exec = await link.openContainerStream({ ...request, verb: 'exec' }, never);
    const sent = 'x'.repeat(3_000_000);
    exec.body.end(sent);
    expect((await text(exec.body)) === sent).toBe(true);
    const error = await caught(link.openContainerStream({ ...request, verb: 'portForward' }, never));
    expect(error.message).toBe('not this pod');
    const aborted = new AbortController();
    const cut = await link.openContainerStream({ ...request, verb: 'exec' }, aborted.signal);
    aborted.abort();
    await eventually(() => expect(cut.body.destroyed).toBe(true));
    expect(link.isUp()).toBe(true);
  });

  it('unpeers from either side and leaves nothing', async ({ onTestFinished }) => {
    for (const side of ['east', 'home'] as const) {
      const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
      await peer(east, home);
      await eventually(() => expect(home.kube.all(VIRTUAL_NODE)).toHaveLength(1));
      const link = home.peering.links.get('east')!;
      const [self, other] = side === 'east' ? [east, home] : [home, east];
      await requestUnpeer(self.kube.client, other.name, { timeoutMs: 10_000 });
      await eventually(() => {
        for (const { kube } of [east, home]) {
          for (const kind of [PEER, CLAIM, GRANT, VIRTUAL_NODE, SERVICE_ACCOUNT, INVITE])
            expect(kube.all(kind)).toEqual([]);
        }
      });
      expect(link.signal.aborted).toBe(true);
      // And they can peer again.
      await peer(east, home);
    }
  });

  it('cleans up alone when the other side is dead, and the other hears of it on return', async ({
    onTestFinished,
  }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    await home.stop();
    await requestUnpeer(east.kube.client, 'home', { timeoutMs: 10_000 });
    expect(east.kube.all(PEER)).toEqual([]);
    expect(home.kube.all(PEER)).toHaveLength(1);
    await home.restart();
    await eventually(() => expect(home.kube.all(PEER)).toEqual([]));
  });

  it('knows after a change of leader that it was the other side that ended the peering', async ({
    onTestFinished,
  }) => {
    // Who is dialled can't tell the end by itself: it would wait a minute for somebody who knows already.
    const [east, home] = [await startFakeCluster('east', 60_000), await startFakeCluster('home')];
    onTestFinished(async () => {
      await Promise.all([east.stop(), home.stop()]);
    });
    await peer(east, home);
    const hold = (finalizers: readonly string[]): Promise<unknown> =>
      east.kube.client.patch(PEER, 'home', undefined, { metadata: { finalizers } }, { type: 'merge' });
    await hold([FINALIZERS.cleanup, FINALIZERS.twins]);
    await requestUnpeer(home.kube.client, 'east', { timeoutMs: 10_000 });
    await eventually(() => expect(east.kube.all<Peer>(PEER)[0]?.metadata.deletionTimestamp).toBeDefined());
    await east.restart();
    await hold([FINALIZERS.cleanup]);
    await eventually(() => expect(east.kube.all(PEER)).toEqual([]));
  });

  it('refuses invites that are used, expired, revoked, tampered with or its own, and leaves nothing', async ({
    onTestFinished,
  }) => {
    const [east, home, west] = (await start(onTestFinished, 'east', 'home', 'west')) as [
      FakeCluster,
      FakeCluster,
      FakeCluster,
    ];
    const options = { roles: ['Consumer'], endpoints: [east.endpoint] } as const;
    const join = (cluster: FakeCluster, token: string): Promise<FluviaError> =>
      caught(requestJoin(cluster.kube.client, token, { timeoutMs: 10_000 }));

    const { token: used } = await createInvite(east.kube.client, options);
    await requestJoin(home.kube.client, used, { timeoutMs: 10_000 });
    expect((await join(west, used)).code).toBe('FLUVIA_ERR_INVITE_USED');

    const past = await createInvite(east.kube.client, { ...options, validForMs: -1000 });
    expect((await join(west, past.token)).code).toBe('FLUVIA_ERR_INVITE_EXPIRED');

    const { token: own } = await createInvite(east.kube.client, options);
    expect((await join(east, own)).code).toBe('FLUVIA_ERR_SAME_IDENTITY');

    const revoked = await createInvite(east.kube.client, options);
    await east.kube.client.delete(INVITE, revoked.invite.id);
    expect((await join(west, revoked.token)).code).toBe('FLUVIA_ERR_INVITE_INVALID');

    const { invite } = await createInvite(east.kube.client, options);
    const other = await createInvite(east.kube.client, options);
    // Another invite's seed; roles that were not offered; a later expiry than the inviter knows.
    expect((await join(west, formatToken({ ...invite, seed: other.invite.seed }))).code).toBe(
      'FLUVIA_ERR_INVITE_INVALID',
    );
    expect((await join(west, formatToken({ ...invite, roles: ['Provider'] }))).code).toBe(
      'FLUVIA_ERR_INVITE_INVALID',
    );
    // Another cluster's identity answers at the address.
    const { pin, clusterID } = { ...west.peering.identity };
    const impostor = formatToken({ ...invite, pin, clusterID, name: 'nobody' });
    expect((await join(home, impostor)).code).toBe('FLUVIA_ERR_PIN_MISMATCH');
    const sameName = formatToken({ ...invite, pin, clusterID, name: 'east' });
    expect((await join(home, sameName)).code).toBe('FLUVIA_ERR_CONFLICT');

    expect(west.kube.all(PEER)).toEqual([]);
    expect(west.kube.all<{ type?: string }>(SECRET).map((s) => s.type)).toEqual(['kubernetes.io/tls']);
    expect(east.kube.all<Peer>(PEER).map((p) => p.metadata.name)).toEqual(['home']);
    expect(east.kube.all<Invite>(INVITE).every((i) => i.spec.usedBy.length === 0)).toBe(true);
    // What was refused can still be used rightly.
    await requestJoin(west.kube.client, formatToken(invite), { timeoutMs: 10_000 });
  });

  it('gives a retry by the same joiner the same answer after a crash of either side', async ({
    onTestFinished,
  }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    const { token, invite } = await createInvite(east.kube.client, { endpoints: [east.endpoint] });
    // The inviter dies between recording the joiner and writing its Peer.
    let crashed = 0;
    east.kube.failWith = (verb, resource) =>
      verb === 'create' && resource.kind === 'Peer' && crashed++ === 0 ? new Error('crash') : undefined;
    // The joiner dies before it writes its Peer.
    let died = 0;
    home.kube.failWith = (verb, resource) =>
      verb === 'create' && resource.kind === 'Peer' && died++ === 0 ? new Error('crash') : undefined;
    const { peer: made } = await requestJoin(home.kube.client, token, { timeoutMs: 15_000 });
    expect(made.spec.inviteID).toBe(invite.id);
    expect([crashed, died].every((n) => n >= 2)).toBe(true);
    await eventually(() => expect(home.peering.links.get('east')?.isUp()).toBe(true));
    await eventually(() => expect(east.kube.all(INVITE)).toEqual([]));
  });

  it('makes nobody more than it was invited to be, though it asks again', async ({ onTestFinished }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    const { token, invite } = await createInvite(east.kube.client, {
      roles: ['Consumer'],
      endpoints: [east.endpoint],
    });
    await requestJoin(home.kube.client, token, { timeoutMs: 10_000 });
    await eventually(() => expect(east.kube.all(INVITE)).toEqual([]));
    const before = east.kube.all<Peer>(PEER)[0]?.spec;
    expect(before?.roles).toEqual(['Consumer']);
    const greedy = formatToken({ ...invite, roles: ['Consumer', 'Provider'] });
    const refused = await caught(requestJoin(home.kube.client, greedy, { timeoutMs: 10_000 }));
    expect(refused.code).toBe('FLUVIA_ERR_INVITE_INVALID');
    expect(east.kube.all<Peer>(PEER)[0]?.spec).toEqual(before);
  });

  it('lets one of two joiners with one use in', async ({ onTestFinished }) => {
    const [east, home, west] = (await start(onTestFinished, 'east', 'home', 'west')) as [
      FakeCluster,
      FakeCluster,
      FakeCluster,
    ];
    const { token } = await createInvite(east.kube.client, { endpoints: [east.endpoint] });
    const results = await Promise.allSettled(
      [home, west].map((cluster) => requestJoin(cluster.kube.client, token, { timeoutMs: 10_000 })),
    );
    expect(results.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(results.find((r) => r.status === 'rejected')).toMatchObject({
      reason: { code: 'FLUVIA_ERR_INVITE_USED' },
    });
    expect(east.kube.all(PEER)).toHaveLength(1);
  });

  it('shrinks and grows a grant live', async ({ onTestFinished }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    await eventually(() => expect(home.kube.all<Claim>(CLAIM)[0]?.status?.granted?.['cpu']).toBe('3200m'));
    await home.kube.client.patch(
      CLAIM,
      'east',
      undefined,
      { spec: { resources: { cpu: '1' } } },
      { type: 'merge' },
    );
    await eventually(() => expect(home.kube.all<Claim>(CLAIM)[0]?.status?.granted?.['cpu']).toBe('1'));
    expect(home.kube.all(VIRTUAL_NODE)).toHaveLength(1);
  });

  it('gives a peer that invents claims no more than one of them, and keeps no pile of Grants', async ({
    onTestFinished,
  }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    const grants = () => east.kube.all<Grant>(GRANT);
    await eventually(() => expect(grants()).toHaveLength(1));
    await east.kube.client.patch(
      GRANT,
      'home-east',
      undefined,
      { status: { used: { cpu: '3', memory: '5Gi', pods: '60' } } },
      { type: 'merge', subresource: 'status' },
    );
    const claim = (name: string) =>
      home.kube.client.create(CLAIM, { metadata: { name }, spec: { peer: 'east' } } as never);
    for (let n = 1; n <= 12; n += 1) await claim(`c${n}`);
    const heard = (name: string) =>
      home.kube.all<Claim>(CLAIM).find(({ metadata }) => metadata.name === name)?.status?.conditions?.[0];
    await eventually(() => expect(heard('c12')).toMatchObject({ status: 'False', reason: 'Insufficient' }));
    expect(heard('c12')?.message).toContain('cpu 3200m');
    expect(grants()).toHaveLength(1);

    // The claim that had it is withdrawn: its pods still hold 3 cores, and the next gets the rest only.
    await home.kube.client.delete(CLAIM, 'east', undefined);
    await eventually(() => {
      const found = new Map(grants().map(({ spec }) => [spec.claim, spec]));
      expect(found.get('east')).toMatchObject({ withdrawn: true, resources: { cpu: '3' } });
      expect(found.get('c1')).toMatchObject({
        resources: { cpu: '200m' },
        peerMaximum: { cpu: '3200m', memory: '6553Mi', pods: '88' },
      });
    });
    await east.kube.client.patch(
      GRANT,
      'home-east',
      undefined,
      { status: { used: { cpu: '0', memory: '0', pods: '0' } } },
      { type: 'merge', subresource: 'status' },
    );
    await eventually(() => {
      const found = new Map(grants().map(({ spec }) => [spec.claim, spec]));
      expect(found.get('east')).toBeUndefined();
      expect(found.get('c1')?.resources['cpu']).toBe('3200m');
    });
  });

  it('cuts both connections at once when the pin is dropped, and while paused', async ({
    onTestFinished,
  }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    const pins = ['0'.repeat(64)];
    await east.kube.client.patch(PEER, 'home', undefined, { spec: { pins } }, { type: 'merge' });
    await eventually(() => expect(east.peering.links.get('home')?.isUp()).toBe(false));
    // A key that isn't pinned any more gets no further than being told so.
    await eventually(() => expect(home.kube.all(PEER)).toEqual([]));
    expect(east.peering.links.get('home')?.isUp()).toBe(false);
  });

  it('pauses and resumes', async ({ onTestFinished }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    const pause = (paused: boolean): Promise<unknown> =>
      east.kube.client.patch(PEER, 'home', undefined, { spec: { paused } }, { type: 'merge' });
    await pause(true);
    await eventually(() => {
      expect(home.peering.links.get('east')?.isUp()).toBe(false);
      expect(east.kube.all<Peer>(PEER)[0]?.status?.link?.state).toBe('Paused');
    });
    await pause(false);
    await eventually(() => expect(home.peering.links.get('east')?.isUp()).toBe(true));
    expect(home.kube.all(PEER)).toHaveLength(1);
  });

  it('says what is wrong with an item and goes on', async ({ onTestFinished }) => {
    const [east, home] = (await start(onTestFinished, 'east', 'home')) as [FakeCluster, FakeCluster];
    await peer(east, home);
    const link = home.peering.links.get('east')!;
    link.publish(NAMESPACES).set('bad', { mapping: 'nonsense' } as never);
    link.publish(NAMESPACES).set('good', { mapping: 'auto', sharedWith: [] });
    const heard = east.peering.links.get('home')!.follow(NAMESPACES);
    await eventually(() => {
      expect([...heard.entries().keys()]).toEqual(['good']);
      const condition = east.kube
        .all<Peer>(PEER)[0]
        ?.status?.conditions?.find((c) => c.type === 'ItemsValid');
      expect(condition?.status).toBe('False');
      expect(condition?.message).toContain('namespaces bad: mapping');
    });
    link.publish(NAMESPACES).set('bad', { mapping: 'same', sharedWith: [] });
    await eventually(() => {
      const condition = east.kube
        .all<Peer>(PEER)[0]
        ?.status?.conditions?.find((c) => c.type === 'ItemsValid');
      expect(condition?.status).toBe('True');
    });
    expect(east.peering.links.get('home')!.follow(CLAIMS).get('east')).toEqual({});
  });
});
