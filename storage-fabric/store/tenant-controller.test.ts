import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PeerLink } from '../../api/link.ts';
import { HOME_PLACE } from '../../api/places.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createCache, type Change } from '../../runtime/kube/cache.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { createFrontClient, type FrontClient } from './front-client.ts';
import { listenStore } from './listen.ts';
import { createFakeObjectStore } from './object-store.fake.ts';
import { createFront } from './rest-server.ts';
import type { OwnStore } from './store-controller.ts';
import { startTenantController, type Tenants } from './tenant-controller.ts';
import { signToken } from './tokens.ts';

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const OTHER = 'z'.repeat(26);
const VOLUME = 'v0123456789abcdef';
const SERVER_NAME = 'store.test.fluvia.internal';
const KEY = randomBytes(32);

let version = 0;
const peerOf = (name: string, clusterID: string, extra: object = {}): Peer =>
  ({
    metadata: { name, resourceVersion: String((version += 1)), ...extra },
    spec: { clusterID, roles: ['Consumer'] },
  }) as unknown as Peer;
const tokenOf = (tenant: string): string =>
  signToken(KEY, {
    tenant,
    volume: VOLUME,
    kind: 'append',
    epoch: 1,
    expires: Math.floor(Date.now() / 1000) + 600,
    issued: Date.now(),
    id: 'a'.repeat(32),
  });

describe("a store's tenants", () => {
  let stop: AbortController;
  let frontWith: (token: string) => FrontClient;
  let tenants: Tenants;
  let isReady: boolean;
  let tellStore: () => void;
  const peers = createCache<Peer>({ indexers: {}, log: silentLogger });

  beforeEach(async () => {
    stop = new AbortController();
    isReady = true;
    const bundle = await makeServingBundle({
      commonName: SERVER_NAME,
      dnsNames: [SERVER_NAME],
      now: new Date(),
    });
    const common = { clock: systemClock, log: silentLogger, metrics: createMetrics() };
    const handler = createFront({ store: createFakeObjectStore(), tokenKey: () => KEY, ...common });
    const listening = { port: 0, host: '127.0.0.1', keys: bundle.serving };
    const server = await listenStore(handler, listening, stop.signal);
    const access = {
      address: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      caCertificate: bundle.ca,
      serverName: SERVER_NAME,
    };
    frontWith = (token) => createFrontClient({ ...access, token });
    const store = {
      item: () => ({ ...access, ready: isReady }),
      tokenKey: () => KEY,
      onChange: (listener: () => void) => {
        tellStore = listener;
      },
    } as unknown as OwnStore;
    const informer = {
      list: () => peers.list(),
      get: (_: undefined, name: string) => peers.get(name),
      onChange: (listener: (change: Change<Peer>) => void) => peers.onChange(listener),
      hasSynced: () => true,
      whenSynced: () => Promise.resolve(),
    };
    const deps = { ...common, clusterName: 'west', informers: { for: () => informer } };
    peers.replace([peerOf('east', TENANT), peerOf('south', OTHER)]);
    tenants = startTenantController(deps as unknown as ControllerDeps, store, stop.signal);
  });
  afterEach(() => stop.abort());

  const works = (tenant: string, token: string): Promise<number> =>
    frontWith(token).raise(`/${tenant}/${VOLUME}/`);

  it('lose all their tokens with their Peer, and only theirs; who is peered again gets new ones', async () => {
    const tokens = [tokenOf(TENANT), tokenOf(OTHER)] as const;
    expect(await works(TENANT, tokens[0])).toBe(1);
    peers.remove(peerOf('east', TENANT));
    await vi.waitFor(() => expect(works(TENANT, tokens[0])).rejects.toThrow('401'));
    expect(await works(OTHER, tokens[1])).toBe(1);
    peers.put(peerOf('east', TENANT));
    await systemClock.sleep(5);
    expect(await works(TENANT, tokenOf(TENANT))).toBe(1);
    await expect(works(TENANT, tokens[0])).rejects.toThrow('401');
  });

  it('lose them also when it ends before they are gone, or while the store is down', async () => {
    const token = tokenOf(TENANT);
    isReady = false;
    peers.put(peerOf('east', TENANT, { deletionTimestamp: '2026-01-01T00:00:00Z' }));
    await systemClock.sleep(50);
    expect(await works(TENANT, token)).toBe(1);
    isReady = true;
    tellStore();
    await vi.waitFor(() => expect(works(TENANT, token)).rejects.toThrow('401'));
  });

  it('are consumers, and this cluster itself', () => {
    const link = (peer: string): PeerLink => ({ peer }) as PeerLink;
    expect(tenants.whyNot(link('east'))).toBeUndefined();
    expect(tenants.whyNot(link(HOME_PLACE))).toBeUndefined();
    expect(tenants.whyNot(link('nobody'))?.reason).toBe('NotPeered');
  });
});
