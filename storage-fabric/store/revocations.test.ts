import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../runtime/clock.fake.ts';
import { createFakeObjectStore } from './object-store.fake.ts';
import { createRevocations, type Revocable } from './revocations.ts';

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const DAY_MS = 86_400_000;
const tokenOf = (id: string, issued: number, tenant = TENANT): Revocable => ({
  tenant,
  id: id.repeat(32),
  issued,
});

describe('revocations', () => {
  it('end one token, or all that a tenant was given until then, and are remembered over a restart', async () => {
    const store = createFakeObjectStore();
    const clock = createFakeClock();
    const first = createRevocations(store, clock);
    const now = clock.now().getTime();
    await first.revoke(TENANT, 'a'.repeat(32));
    for (const one of [first, createRevocations(store, clock)]) {
      expect(await one.isRevoked(tokenOf('a', now))).toBe(true);
      expect(await one.isRevoked(tokenOf('b', now))).toBe(false);
    }
    await first.revokeAll(TENANT, now);
    for (const one of [first, createRevocations(store, clock)]) {
      expect(await one.isRevoked(tokenOf('b', now))).toBe(true);
      expect(await one.isRevoked(tokenOf('b', now + 1))).toBe(false);
      expect(await one.isRevoked(tokenOf('b', now, 'z'.repeat(26)))).toBe(false);
    }
  });

  it('are forgotten by the clock that they are kept by once their tokens have expired', async () => {
    const store = createFakeObjectStore();
    const clock = createFakeClock();
    await createRevocations(store, clock).revoke(TENANT, 'a'.repeat(32));
    await clock.advance(DAY_MS - 1000);
    expect(await createRevocations(store, clock).isRevoked(tokenOf('a', 0))).toBe(true);
    expect(store.objects.size).toBe(1);
    await clock.advance(2000);
    expect(await createRevocations(store, clock).isRevoked(tokenOf('a', 0))).toBe(false);
    expect(store.objects.size).toBe(0);
  });
});
