import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createFakeClock, settle } from '../clock.fake.ts';
import { createWorkQueue } from './work-queue.ts';

type Step =
  | { readonly do: 'add' | 'addRateLimited' | 'forget'; readonly key: string }
  | { readonly do: 'addAfter'; readonly key: string; readonly ms: number }
  | { readonly do: 'take' }
  | { readonly do: 'done'; readonly which: number }
  | { readonly do: 'advance'; readonly ms: number };

const key = fc.constantFrom('a', 'b', 'c');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('add' as const, 'addRateLimited' as const, 'forget' as const), key }),
  fc.record({ do: fc.constant('addAfter' as const), key, ms: fc.integer({ min: -1, max: 50 }) }),
  fc.record({ do: fc.constant('take' as const) }),
  fc.record({ do: fc.constant('done' as const), which: fc.nat(3) }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 100 }) }),
);

describe('work queue', () => {
  it('never gives out a key twice at once, and works on every key after its last add', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const clock = createFakeClock();
        const queue = createWorkQueue({ clock });
        const held: string[] = [];
        /** Keys added since they were last given out. */
        const owed = new Set<string>();
        const receive = (taken: string | undefined): void => {
          if (taken === undefined) return;
          expect(held).not.toContain(taken);
          held.push(taken);
          owed.delete(taken);
        };
        const run = async (one: Step): Promise<void> => {
          if (one.do === 'take') void queue.take().then(receive);
          else if (one.do === 'advance') await clock.advance(one.ms);
          else if (one.do === 'done') {
            const [finished] = held.splice(one.which, 1);
            if (finished !== undefined) queue.done(finished);
          } else if (one.do === 'forget') queue.forget(one.key);
          else {
            owed.add(one.key);
            if (one.do === 'addAfter') queue.addAfter(one.key, one.ms);
            else queue[one.do](one.key);
          }
          await settle();
        };
        for (const one of steps) await run(one);
        // Enough workers and time for everything that is owed.
        for (let round = 0; round < 6; round += 1) {
          for (const finished of held.splice(0)) queue.done(finished);
          for (let i = 0; i < 3; i += 1) void queue.take().then(receive);
          await clock.advance(400_000);
        }
        expect([...owed]).toEqual([]);
        expect(queue.depth).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('coalesces adds of a waiting key and repeats one that was added while worked on', async () => {
    const queue = createWorkQueue();
    for (let i = 0; i < 5; i += 1) queue.add('k');
    expect(queue.depth).toBe(1);
    expect(await queue.take()).toBe('k');
    queue.add('k');
    queue.add('k');
    expect(queue.depth).toBe(0);
    queue.done('k');
    expect(queue.depth).toBe(1);
  });

  it('backs off per key exponentially up to the ceiling, and anew after forget', async () => {
    const clock = createFakeClock();
    const queue = createWorkQueue({ clock, baseDelayMs: 5, maxDelayMs: 40 });
    const delayOf = async (): Promise<number> => {
      const begun = clock.monotonicMs();
      queue.addRateLimited('k');
      while (queue.depth === 0) await clock.advance(1);
      const taken = await queue.take();
      queue.done(taken ?? '');
      return clock.monotonicMs() - begun;
    };
    const delays: number[] = [];
    for (let i = 0; i < 6; i += 1) delays.push(await delayOf());
    expect(delays).toEqual([5, 10, 20, 40, 40, 40]);
    expect(queue.retries('k')).toBe(6);
    queue.forget('k');
    expect(await delayOf()).toBe(5);
  });

  it('holds all keys together to the rate once the burst is used', async () => {
    const clock = createFakeClock();
    const queue = createWorkQueue({ clock, baseDelayMs: 0, ratePerSecond: 10, burst: 2 });
    for (const name of ['a', 'b', 'c', 'd']) queue.addRateLimited(name);
    expect(queue.depth).toBe(2);
    await clock.advance(100);
    expect(queue.depth).toBe(3);
    await clock.advance(100);
    expect(queue.depth).toBe(4);
  });

  it('of two delays for one key keeps the earlier', async () => {
    const clock = createFakeClock();
    const queue = createWorkQueue({ clock });
    queue.addAfter('k', 100);
    queue.addAfter('k', 10);
    queue.addAfter('k', 50);
    await clock.advance(10);
    expect(queue.depth).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it('drains: gives out what waits, drops what is delayed, and wakes idle workers', async () => {
    const clock = createFakeClock();
    const queue = createWorkQueue({ clock });
    queue.add('a');
    queue.addAfter('later', 10);
    const drained = queue.drain();
    queue.add('b');
    expect(await queue.take()).toBe('a');
    const idle = queue.take();
    queue.done('a');
    await drained;
    expect(await idle).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('a worker that leaves passes on the key that woke it', async () => {
    const queue = createWorkQueue();
    const leaving = new AbortController();
    const first = queue.take(leaving.signal);
    const second = queue.take();
    queue.add('k');
    leaving.abort();
    const taken = await Promise.race(
      [first, second].map(async (one) => (await one) ?? new Promise<string>(() => {})),
    );
    expect(taken).toBe('k');
  });
});
