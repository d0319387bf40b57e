import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ItemOf, Links, PeerLink, Publisher, Subscriber } from '../../api/link.ts';
import type { TOKEN_REQUESTS, TOKENS, STORE } from '../../api/storage-collections.ts';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { createFrontClient } from './front-client.ts';
import { listenStore } from './listen.ts';
import { createFakeObjectStore, type FakeObjectStore } from './object-store.fake.ts';
import { createFront } from './rest-server.ts';
import type { OwnStore } from './store-controller.ts';
import type { NoTenant } from './plan-tenant.ts';
import type { Tenants } from './tenant-controller.ts';
import { startTokenController } from './token-controller.ts';

type Request = ItemOf<typeof TOKEN_REQUESTS>;
type Token = ItemOf<typeof TOKENS>;

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const VOLUME = 'v0123456789abcdef';
const SERVER_NAME = 'store.test.fluvia.internal';
const request: Request = { volume: VOLUME, kind: 'append', epoch: 1, lifetimeSeconds: 600, attempt: 0 };

/** One peer's end of the two collections. */
const fakePeer = () => {
  const requests = new Map<string, Request>();
  const tokens = new Map<string, Token>();
  const listeners = new Set<(id: string | undefined) => void>();
  const state = { heard: true, told: false };
  const publisher: Publisher<Token> = {
    set: (id, item) => void tokens.set(id, item),
    delete: (id) => void tokens.delete(id),
    ids: () => [...tokens.keys()],
    markComplete: () => {
      state.told = true;
    },
  };
  const subscriber: Subscriber<Request> = {
    get: (id) => requests.get(id),
    entries: () => requests,
    isComplete: () => state.heard,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const link = {
    peer: 'east',
    clusterID: TENANT,
    publish: () => publisher,
    follow: () => subscriber,
  } as unknown as PeerLink;
  const change = (id: string | undefined): void => {
    for (const listener of listeners) listener(id);
  };
  return {
    link,
    tokens,
    state,
    ask: (id: string, item: Request | undefined) => {
      if (item === undefined) requests.delete(id);
      else requests.set(id, item);
      change(id);
    },
    hearAll: () => {
      state.heard = true;
      change(undefined);
    },
  };
};

describe("a peer's requests for tokens", () => {
  let stop: AbortController;
  let objects: FakeObjectStore;
  let item: ItemOf<typeof STORE> | undefined;
  let peer: ReturnType<typeof fakePeer>;
  let noTenant: NoTenant | undefined;
  const key = randomBytes(32);
  const listeners = new Set<() => void>();

  const lead = (): void => {
    const store: OwnStore = {
      item: () => item,
      isInstalled: () => item !== undefined,
      isKnown: () => true,
      tokenKey: () => key,
      onChange: (listener) => listeners.add(listener),
    };
    const links = {
      get: (name: string) => (name === 'east' ? peer.link : undefined),
      list: () => [peer.link],
      onLink: (listener: (link: PeerLink) => void) => {
        listener(peer.link);
        return () => undefined;
      },
    } as unknown as Links;
    const deps = { clock: systemClock, log: silentLogger, metrics: createMetrics(), clusterName: 'west' };
    const tenants: Tenants = {
      isKnown: () => true,
      whyNot: () => noTenant,
      onChange: (listener) => listeners.add(() => listener('east')),
    };
    startTokenController(deps as ControllerDeps, links, store, tenants, stop.signal);
  };
  const front = (token: string | undefined) =>
    createFrontClient({
      address: '127.0.0.1',
      port: item?.port ?? 0,
      caCertificate: item?.caCertificate ?? '',
      serverName: SERVER_NAME,
      token: token ?? '',
    });
  const answered = (id: string, attempt = 0): Promise<Token> =>
    vi.waitFor(() => {
      const token = peer.tokens.get(id);
      if (token?.attempt !== attempt) throw new Error('no answer yet');
      return token;
    });

  beforeEach(async () => {
    stop = new AbortController();
    listeners.clear();
    noTenant = undefined;
    objects = createFakeObjectStore();
    peer = fakePeer();
    const bundle = await makeServingBundle({
      commonName: SERVER_NAME,
      dnsNames: [SERVER_NAME],
      now: new Date(),
    });
    const handler = createFront({
      store: objects,
      tokenKey: () => key,
      clock: systemClock,
      log: silentLogger,
      metrics: createMetrics(),
    });
    const server = await listenStore(
      handler,
      { port: 0, host: '127.0.0.1', keys: bundle.serving },
      stop.signal,
    );
    item = {
      address: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      caCertificate: bundle.ca,
      serverName: SERVER_NAME,
      ready: true,
    };
  });
  afterEach(() => stop.abort());

  it('are answered with a token of their own prefix, after the store knows the epoch', async () => {
    lead();
    peer.ask('r1', request);
    const { token, path } = await answered('r1');
    expect(path).toBe(`/${TENANT}/${VOLUME}/`);
    expect(objects.objects.get(`${TENANT}/${VOLUME}/fluvia/epoch.json`)?.toString()).toBe('{"epoch":1}\n');
    expect(await front(token).usage(path ?? '')).toMatchObject({ epoch: 1, received: 0 });
    await expect(front(token).usage(`/${'b'.repeat(26)}/${VOLUME}/`)).rejects.toThrow('another volume');
  });

  it('of a higher epoch end the tokens of the lower one before they are answered', async () => {
    lead();
    peer.ask('r1', request);
    const old = await answered('r1');
    peer.ask('r2', { ...request, epoch: 2 });
    await answered('r2');
    await expect(front(old.token).raise(old.path ?? '')).rejects.toThrow('moved on');
    peer.ask('r3', request);
    expect((await answered('r3')).refused?.reason).toBe('StaleEpoch');
  });

  it('end with their token when withdrawn, and one attempt ends the one before', async () => {
    lead();
    peer.ask('r1', request);
    const first = await answered('r1');
    peer.ask('r1', { ...request, attempt: 1 });
    const second = await answered('r1', 1);
    const path = first.path ?? '';
    await expect(front(first.token).usage(path)).rejects.toThrow('401');
    expect((await front(second.token).usage(path)).epoch).toBe(1);
    peer.ask('r1', undefined);
    await vi.waitFor(() => expect(peer.tokens.size).toBe(0));
    await expect(front(second.token).usage(path)).rejects.toThrow('401');
  });

  it('are refused without a store, and answered as soon as there is one', async () => {
    const ready = item;
    item = undefined;
    lead();
    peer.ask('r1', request);
    expect((await answered('r1')).refused).toMatchObject({ reason: 'NoStore' });
    item = ready;
    for (const listener of listeners) listener();
    await vi.waitFor(() => expect(peer.tokens.get('r1')?.token).toBeDefined());
  });

  it('are refused to who is no consumer, and answered once it is one', async () => {
    lead();
    peer.ask('r1', request);
    const { path = '' } = await answered('r1');
    noTenant = { reason: 'NotAConsumer', message: 'add Consumer' };
    for (const listener of listeners) listener();
    await vi.waitFor(() => expect(peer.tokens.get('r1')?.refused).toEqual(noTenant));
    noTenant = undefined;
    for (const listener of listeners) listener();
    await vi.waitFor(() => expect(peer.tokens.get('r1')?.token).toBeDefined());
    await expect(front(peer.tokens.get('r1')?.token).usage(path)).resolves.toMatchObject({ epoch: 1 });
  });

  it('are answered anew by the next leader before it says that it knows them all', async () => {
    peer.state.heard = false;
    lead();
    expect(peer.state.told).toBe(false);
    peer.ask('r1', request);
    await answered('r1');
    expect(peer.state.told).toBe(false);
    peer.hearAll();
    await vi.waitFor(() => expect(peer.state.told).toBe(true));
    expect(peer.tokens.get('r1')?.token).toBeDefined();
  });
});
