import { describe, expect, it } from 'vitest';
import { whyStuck, type UnendedTransfer } from './plan-stuck.ts';

const waiting: UnendedTransfer = {
  runner: 'east',
  target: 'west',
  states: { runner: 'up', target: 'up' },
  isRunning: false,
  waitedMs: 0,
  message: undefined,
};

describe('a mover that has not ended', () => {
  it.each(['runner', 'target'] as const)(
    'is given up when its %s is lost or paused, also while it runs',
    (who) => {
      const peer = waiting[who];
      for (const isRunning of [true, false]) {
        const at = (state: 'lost' | 'paused' | 'unsure') =>
          whyStuck({ ...waiting, isRunning, states: { ...waiting.states, [who]: state } });
        expect(at('lost')).toBe(`PeerLost: peer ${peer} does not answer: fluviactl info ${peer}`);
        expect(at('paused')).toBe(`PeerPaused: peer ${peer} is paused: set its spec.paused to false`);
        // a hiccup, or a leader that has just begun
        expect(at('unsure')).toBeUndefined();
      }
    },
  );

  it('is given up when it does not begin within minutes, with what it waits for', () => {
    const message = '0/3 nodes are available: 3 Insufficient memory.';
    expect(whyStuck({ ...waiting, waitedMs: 180_000, message })).toBeUndefined();
    expect(whyStuck({ ...waiting, waitedMs: 180_001, message })).toBe(
      `NotStarted: the mover did not begin within 180 s: ${message}`,
    );
    expect(whyStuck({ ...waiting, waitedMs: 180_001 })).toContain('fluviactl info east');
    expect(whyStuck({ ...waiting, isRunning: true, waitedMs: 10_000_000 })).toBeUndefined();
  });
});
