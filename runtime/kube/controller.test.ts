import { describe, expect, it } from 'vitest';

import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { createFakeClock, settle, type FakeClock } from '../clock.fake.ts';
import { silentLogger } from '../log.ts';
import { runController, type Reconcile, type WatchSource } from './controller.ts';
import { ApiError } from './errors.ts';
import { createWorkQueue } from './work-queue.ts';

const syncedSource: WatchSource = { whenSynced: () => Promise.resolve(), subscribe: () => () => {} };

interface Running {
  readonly clock: FakeClock;
  readonly add: (key: string) => void;
  readonly stop: () => Promise<void>;
}

const run = (
  reconcile: Reconcile,
  sources: readonly WatchSource[] = [syncedSource],
  workers = 2,
): Running => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stopping = new AbortController();
  const done = runController(
    { name: 'test', sources, reconcile, queue, clock, workers, log: silentLogger },
    stopping.signal,
  );
  return {
    clock,
    add: (key) => queue.add(key),
    stop: async () => {
      stopping.abort(new Error('end of test'));
      await done;
    },
  };
};

const failing = (error: unknown): { readonly calls: () => number; readonly reconcile: Reconcile } => {
  let calls = 0;
  return {
    calls: () => calls,
    reconcile: () => {
      calls += 1;
      return Promise.reject(error);
    },
  };
};

describe('controller', () => {
  it('acts on nothing before every informer has synced', async () => {
    const synced = Promise.withResolvers<void>();
    const worked: string[] = [];
    const late: WatchSource = { whenSynced: () => synced.promise, subscribe: () => () => {} };
    const controller = run((key) => Promise.resolve(void worked.push(key)), [syncedSource, late]);
    controller.add('a');
    await controller.clock.advance(60_000);
    expect(worked).toEqual([]);
    synced.resolve();
    await settle();
    expect(worked).toEqual(['a']);
    await controller.stop();
  });

  it('requeues after the time asked for', async () => {
    let calls = 0;
    const controller = run(() => {
      calls += 1;
      return Promise.resolve({ requeueAfterMs: 1000 });
    });
    controller.add('a');
    await controller.clock.advance(3500);
    expect(calls).toBe(4);
    await controller.stop();
  });

  it('tries again soon when waiting, slowly when stalled, never when failed for good', async () => {
    const waiting = failing(new FluviaError(ERROR_CODES.UNREACHABLE, 'later'));
    const stalled = failing(new FluviaError(ERROR_CODES.FORBIDDEN, 'no', { kind: 'stalled' }));
    const terminal = failing(new FluviaError(ERROR_CODES.BAD_INPUT, 'bad', { kind: 'terminal' }));
    const calls: number[] = [];
    for (const { reconcile, calls: count } of [waiting, stalled, terminal]) {
      const controller = run(reconcile);
      controller.add('a');
      await controller.clock.advance(10_000);
      calls.push(count());
      await controller.clock.advance(400_000);
      calls.push(count());
      await controller.stop();
    }
    const [waitingSoon = 0, , stalledSoon, stalledLater, terminalSoon, terminalLater] = calls;
    expect(waitingSoon).toBeGreaterThan(8);
    expect([stalledSoon, stalledLater, terminalSoon, terminalLater]).toEqual([1, 2, 1, 1]);
  });

  it('waits as long as an overloaded API server asks for', async () => {
    const busy = failing(
      new ApiError({ status: 429, reason: 'TooManyRequests', message: 'busy', retryAfterMs: 5000 }),
    );
    const controller = run(busy.reconcile);
    controller.add('a');
    await controller.clock.advance(4900);
    expect(busy.calls()).toBe(1);
    await controller.clock.advance(200);
    expect(busy.calls()).toBe(2);
    await controller.stop();
  });

  it('stops only after the reconcile under way has returned', async () => {
    const gate = Promise.withResolvers<void>();
    let finished = false;
    const controller = run(async () => {
      await gate.promise;
      finished = true;
    });
    controller.add('a');
    await settle();
    const stopped = controller.stop();
    gate.resolve();
    await stopped;
    expect(finished).toBe(true);
  });
});
