import { describe, expect, it } from 'vitest';
import { STORE, TOKEN_REQUESTS, TOKENS, TRANSFER_STATUS, TRANSFERS } from '../../api/storage-collections.ts';
import { createFakeClock } from '../../runtime/clock.fake.ts';
import { createFakeLinks, createFakePeer } from '../../test/kube/fake-links.ts';
import type { PlaceState } from './place-loss.ts';
import { createTransfers, type TransferWish } from './transfers.ts';

const VOLUME = 'v0123456789abcdef';
const WISH: TransferWish = {
  id: 't1',
  volume: VOLUME,
  action: 'backup',
  purpose: 'replica',
  runner: 'east',
  target: 'west',
  epoch: 1,
  sequence: 1,
  namespace: 'shop',
  claimName: 'db',
  writerStopped: false,
  key: 'k'.repeat(43),
  deadlineSeconds: 21_600,
};

const begin = () => {
  const { signal } = new AbortController();
  const east = createFakePeer('east', 'e'.repeat(26), signal);
  const west = createFakePeer('west', 'w'.repeat(26), signal);
  const clock = createFakeClock();
  const states = new Map<string, PlaceState>();
  const places = { state: (place: string): PlaceState => states.get(place) ?? 'up' };
  west.tell(STORE).set('store', {
    address: '10.244.0.7',
    port: 9447,
    caCertificate: 'PEM',
    serverName: 'store.west.fluvia',
    ready: true,
  });
  const transfers = createTransfers(createFakeLinks([east, west]), places, clock, () => {});
  const grant = (): void => west.tell(TOKENS).set('t1', { attempt: 0, token: 'x', path: '/t/v/' });
  return { east, west, clock, states, transfers, grant };
};

describe('a mover', () => {
  it('is given up when its target is lost before it gave a token, so that copies elsewhere go on', () => {
    const { west, states, transfers } = begin();
    transfers.start(WISH);
    states.set('west', 'unsure');
    expect(transfers.get(VOLUME)).toMatchObject({ phase: 'asking' });
    states.set('west', 'lost');
    expect(transfers.get(VOLUME)).toMatchObject({
      phase: 'failed',
      message: expect.stringContaining('PeerLost'),
    });
    // what was said stays, also when it returns in the same moment
    states.set('west', 'up');
    expect(transfers.get(VOLUME)?.phase).toBe('failed');
    transfers.end(VOLUME);
    expect(west.sent(TOKEN_REQUESTS).items.size).toBe(0);
  });

  it('is given up when its runner is lost, but not once its end was heard', () => {
    const { east, states, transfers, grant } = begin();
    transfers.start(WISH);
    grant();
    expect(transfers.get(VOLUME)?.phase).toBe('asking');
    east.tell(TRANSFER_STATUS).set('t1', { phase: 'Succeeded' });
    states.set('east', 'lost');
    expect(transfers.get(VOLUME)?.phase).toBe('succeeded');
    east.tell(TRANSFER_STATUS).set('t1', { phase: 'Running' });
    expect(transfers.get(VOLUME)?.phase).toBe('failed');
  });

  it('that does not begin is given up after minutes, with the words of its runner; one in a queue waits', async () => {
    const { east, clock, transfers, grant } = begin();
    transfers.start(WISH);
    grant();
    transfers.get(VOLUME);
    expect(east.sent(TRANSFERS).items.size).toBe(1);
    const message = '8 may run at once';
    east.tell(TRANSFER_STATUS).set('t1', { phase: 'Pending', reason: 'Queued', message });
    for (let i = 0; i < 100; i += 1) {
      await clock.advance(15_000);
      expect(transfers.get(VOLUME)).toMatchObject({ phase: 'pending', message, waitedMs: 0 });
    }
    east.tell(TRANSFER_STATUS).set('t1', { phase: 'Pending', message: 'ErrImagePull: no such image' });
    await clock.advance(180_000);
    expect(transfers.get(VOLUME)).toMatchObject({ phase: 'pending', waitedMs: 180_000 });
    await clock.advance(1);
    expect(transfers.get(VOLUME)).toMatchObject({
      phase: 'failed',
      message: 'NotStarted: the mover did not begin within 180 s: ErrImagePull: no such image',
    });
  });

  it('that runs has its whole time', async () => {
    const { east, clock, transfers, grant } = begin();
    transfers.start(WISH);
    grant();
    east.tell(TRANSFER_STATUS).set('t1', { phase: 'Running', bytesDone: 1, bytesTotal: 2 });
    await clock.advance(21_600_000);
    expect(transfers.get(VOLUME)).toMatchObject({ phase: 'running', bytesDone: 1 });
    await clock.advance(120_001);
    expect(transfers.get(VOLUME)).toMatchObject({
      phase: 'failed',
      message: expect.stringContaining('TimedOut'),
    });
  });

  it('is given up when its target is no peer any more', () => {
    const { east, clock } = begin();
    const transfers = createTransfers(createFakeLinks([east]), { state: () => 'lost' }, clock, () => {});
    transfers.start(WISH);
    expect(transfers.get(VOLUME)?.message).toBe(
      'PeerGone: there is no peer west any more: kubectl get peers',
    );
  });
});
