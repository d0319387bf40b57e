import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { createKeyLock } from './key-lock.ts';
import { createLedger, type Reservation } from './ledger.ts';
import { createFakeObjectStore } from './object-store.fake.ts';
import { DEFAULT_TENANT_BYTES, OBJECT_COST, tenantQuota, type Account } from './plan-quota.ts';

const QUOTAS = { volumeBytes: 100_000, tenantBytes: 200_000 };
const ROOM = 64 * 2 ** 20;

const step = fc.record({
  volume: fc.nat(3),
  size: fc.nat(60_000),
  isTidying: fc.boolean(),
  end: fc.constantFrom('keep', 'giveBack', 'open', 'both'),
  isRemoved: fc.boolean(),
});

describe('the ledger', () => {
  it('never sets more aside than a volume and its tenant may have, and knows what is there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const ledger = createLedger(createFakeObjectStore(), QUOTAS);
        const volumes = Array.from({ length: 4 }, (): Account => ({ stored: 0, reserved: 0 }));
        const model = [0, 0, 0, 0];
        const open: Reservation[] = [];
        const codes = new Set<string>();
        const tidies = steps.some((one) => one.isTidying);
        const mostOf = (quota: number): number => (tidies ? quota * 1.05 + ROOM : quota);
        for (const { volume, size, isTidying, end, isRemoved } of steps) {
          const account = volumes[volume] ?? { stored: 0, reserved: 0 };
          const wish = { size, isTidying };
          const outcome = await ledger
            .reserve('t', account, wish)
            .catch((error: unknown) => error as FluviaError);
          if (outcome instanceof FluviaError) codes.add(outcome.code);
          else {
            if (end === 'open') open.push(outcome);
            if (end === 'giveBack' || end === 'both') outcome.giveBack();
            if (end === 'keep' || end === 'both') outcome.keep();
            if (end === 'keep') model[volume] = (model[volume] ?? 0) + size;
            if (end === 'keep' && isRemoved) {
              await ledger.remove('t', account, size);
              model[volume] = (model[volume] ?? 0) - size;
            }
          }
          const all = volumes.reduce((sum, { stored, reserved }) => sum + stored + reserved, 0);
          expect(all).toBeLessThanOrEqual(mostOf(QUOTAS.tenantBytes));
          expect(account.stored + account.reserved).toBeLessThanOrEqual(mostOf(QUOTAS.volumeBytes));
        }
        for (const reservation of open) reservation.giveBack();
        expect([...codes].every((code) => code === ERROR_CODES.QUOTA_EXCEEDED)).toBe(true);
        expect(volumes.map(({ stored }) => stored)).toEqual(model);
        expect(volumes.every(({ reserved }) => reserved === 0)).toBe(true);
      }),
    );
  });

  it("counts each tenant's own, and not what this cluster keeps there of revoked tokens", async () => {
    const store = createFakeObjectStore();
    store.objects.set('t/v1/data/a', Buffer.alloc(1000));
    store.objects.set(`t/revoked/${'a'.repeat(32)}.1.json`, Buffer.alloc(100_000));
    store.objects.set('u/v1/data/a', Buffer.alloc(100_000));
    const room = 2 * OBJECT_COST + 1000 + 500;
    const account: Account = { stored: 0, reserved: 0 };
    const ledger = createLedger(store, { tenantBytes: room });
    await expect(ledger.reserve('t', account, { size: 501, isTidying: false })).rejects.toThrow('would take');
    await expect(ledger.reserve('t', account, { size: 500, isTidying: false })).resolves.toBeDefined();
  });
});

describe("a tenant's quota", () => {
  it('is what its owner says, half of a store of known size, or a default', () => {
    expect(tenantQuota(5, 100)).toBe(5);
    expect(tenantQuota(undefined, 101)).toBe(50);
    expect(tenantQuota(undefined, undefined)).toBe(DEFAULT_TENANT_BYTES);
  });
});

describe('a lock by key', () => {
  it('runs what is about one key in turn, and goes on after a failure', async () => {
    const alone = createKeyLock();
    const log: string[] = [];
    const work =
      (name: string, fails = false) =>
      async (): Promise<void> => {
        log.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`${name} ends`);
        if (fails) throw new Error(name);
      };
    const all = [
      alone('k', work('a', true)),
      alone('k', work('b')),
      alone('other', work('c')),
      alone('k', work('d')),
    ];
    expect((await Promise.allSettled(all)).map(({ status }) => status)).toEqual([
      'rejected',
      'fulfilled',
      'fulfilled',
      'fulfilled',
    ]);
    expect(log.filter((line) => !line.startsWith('c'))).toEqual(
      ['a', 'b', 'd'].flatMap((name) => [`${name} begins`, `${name} ends`]),
    );
    expect(log.indexOf('c begins')).toBeLessThan(log.indexOf('b begins'));
  });
});
