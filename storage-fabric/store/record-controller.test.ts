import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ItemOf } from '../../api/link.ts';
import { RECORD_REQUESTS, RECORDS, type STORE } from '../../api/storage-collections.ts';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from '../../test/kube/fake-links.ts';
import { listenStore } from './listen.ts';
import { createFakeObjectStore, type FakeObjectStore } from './object-store.fake.ts';
import { startRecordController } from './record-controller.ts';
import { createFront } from './rest-server.ts';
import type { OwnStore } from './store-controller.ts';
import type { Tenants } from './tenant-controller.ts';

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const OTHER = 'z'.repeat(26);
const VOLUME = 'v0123456789abcdef';
const SERVER_NAME = 'store.test.fluvia.internal';

const record = (sequence: number) => ({
  volume: VOLUME,
  epoch: 1,
  sequence,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: '2026-11-25T03:00:00Z',
  bytesScanned: 1,
  bytesSent: 1,
});

describe("a peer's question which copies a store holds", () => {
  let stop: AbortController;
  let objects: FakeObjectStore;
  let item: ItemOf<typeof STORE> | undefined;
  let peer: FakePeer;
  const key = randomBytes(32);
  const listeners = new Set<() => void>();

  const put = (tenant: string, sequence: number): void =>
    void objects.objects.set(
      `${tenant}/${VOLUME}/fluvia/commits/1-${sequence}.json`,
      Buffer.from(JSON.stringify(record(sequence))),
    );
  const ask = (attempt: number, epoch = 1): void =>
    peer.tell(RECORD_REQUESTS).set(VOLUME, { epoch, attempt });
  const answer = (attempt: number): Promise<ItemOf<typeof RECORDS>> =>
    vi.waitFor(() => {
      const told = peer.sent(RECORDS).items.get(VOLUME);
      if (told?.attempt !== attempt) throw new Error('no answer yet');
      return told;
    });

  beforeEach(async () => {
    stop = new AbortController();
    listeners.clear();
    objects = createFakeObjectStore();
    peer = createFakePeer('east', TENANT, stop.signal);
    const bundle = await makeServingBundle({
      commonName: SERVER_NAME,
      dnsNames: [SERVER_NAME],
      now: new Date(),
    });
    const common = { clock: systemClock, log: silentLogger, metrics: createMetrics() };
    const handler = createFront({ store: objects, tokenKey: () => key, ...common });
    const listening = { port: 0, host: '127.0.0.1', keys: bundle.serving };
    const server = await listenStore(handler, listening, stop.signal);
    item = {
      address: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      caCertificate: bundle.ca,
      serverName: SERVER_NAME,
      ready: true,
    };
    const store: OwnStore = {
      item: () => item,
      isInstalled: () => item !== undefined,
      isKnown: () => true,
      tokenKey: () => key,
      onChange: (listener) => listeners.add(listener),
    };
    const deps = { ...common, clusterName: 'west' } as ControllerDeps;
    const tenants: Tenants = { isKnown: () => true, whyNot: () => undefined, onChange: () => undefined };
    startRecordController(deps, createFakeLinks([peer]), store, tenants, stop.signal);
  });
  afterEach(() => stop.abort());

  it('is answered with its own, the newest first, and taken back with the question', async () => {
    for (const sequence of [1, 2]) put(TENANT, sequence);
    put(OTHER, 3);
    ask(7);
    const { records = [] } = await answer(7);
    expect(records.map(({ sequence }) => sequence)).toEqual([2, 1]);
    expect(records[0]).not.toHaveProperty('volume');
    put(TENANT, 4);
    ask(8);
    expect((await answer(8)).records).toHaveLength(3);
    peer.tell(RECORD_REQUESTS).delete(VOLUME);
    await vi.waitFor(() => expect(peer.sent(RECORDS).items.size).toBe(0));
  });

  it('is answered with nothing where there is nothing', async () => {
    ask(1);
    expect(await answer(1)).toEqual({ attempt: 1, records: [] });
  });

  it('is refused at a lower epoch than the store has seen', async () => {
    ask(1, 2);
    await answer(1);
    ask(2, 1);
    expect((await answer(2)).refused?.message).toContain('it has moved on');
  });

  it('is refused without a store, and answered as soon as there is one', async () => {
    const ready = item;
    item = undefined;
    ask(1);
    expect((await answer(1)).refused).toMatchObject({ reason: 'NoStore' });
    item = ready;
    for (const listener of listeners) listener();
    await vi.waitFor(() => expect(peer.sent(RECORDS).items.get(VOLUME)?.records).toEqual([]));
  });
});
