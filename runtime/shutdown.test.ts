import { describe, expect, it, vi } from 'vitest';

import { silentLogger } from './log.ts';
import { installShutdown } from './shutdown.ts';

const install = (limitMs = 20_000) => {
  const exits: number[] = [];
  const shutdown = installShutdown({
    log: silentLogger,
    limitMs,
    signals: [],
    exit: (code) => void exits.push(code),
  });
  return { shutdown, exits };
};

describe('shutdown', () => {
  it('aborts its signal and stops the last registered first, one after the other', async () => {
    const { shutdown, exits } = install();
    const order: string[] = [];
    shutdown.onStop('first', () => void order.push('first'));
    shutdown.onStop('second', async () => {
      await Promise.resolve();
      order.push('second');
    });
    shutdown.stop('test');
    shutdown.stop('again');
    await shutdown.stopped;
    expect(shutdown.signal.aborted).toBe(true);
    expect(order).toEqual(['second', 'first']);
    expect(exits).toEqual([]);
  });

  it('goes on when one part fails to stop', async () => {
    const { shutdown } = install();
    const stopped = vi.fn<() => void>();
    shutdown.onStop('last', stopped);
    shutdown.onStop('broken', () => Promise.reject(new Error('no')));
    shutdown.stop('test');
    await shutdown.stopped;
    expect(stopped).toHaveBeenCalledOnce();
  });

  it('exits with 1 when stopping takes too long', async () => {
    const { shutdown, exits } = install(10);
    shutdown.onStop('stuck', () => new Promise(() => {}));
    shutdown.stop('test');
    await vi.waitFor(() => expect(exits).toEqual([1]));
  });
});
