import { afterEach, describe, expect, it, vi } from 'vitest';

import { systemClock } from '../../runtime/clock.ts';
import { createProber, startResponder } from './probe.ts';

const PEER = new Map([['east', '127.0.0.2']]);

describe('probes between gateways', () => {
  const opened: { close(): void }[] = [];
  afterEach(() => opened.splice(0).forEach((socket) => socket.close()));
  const open = <T extends { close(): void }>(socket: T): T => {
    opened.push(socket);
    return socket;
  };
  const fail = (error: Error): never => {
    throw error;
  };

  it('tell the time to the answer, and how many have stayed without one since', async () => {
    const responder = open(startResponder('127.0.0.2', fail));
    const prober = open(createProber(systemClock, '127.0.0.1', fail));
    expect(prober.result('east')).toBeUndefined();
    prober.probe(PEER);
    await vi.waitFor(() => expect(prober.result('east')).toMatchObject({ lossPercent: 0, unanswered: 0 }));
    const first = prober.result('east')?.rttMilliseconds;
    expect(first).toBeGreaterThan(0);

    responder.close();
    // each judges the one before
    for (let n = 0; n < 4; n += 1) prober.probe(PEER);
    expect(prober.result('east')).toEqual({ rttMilliseconds: first, lossPercent: 75, unanswered: 3 });

    open(startResponder('127.0.0.2', fail));
    await vi.waitFor(() => {
      prober.probe(PEER);
      expect(prober.result('east')?.unanswered).toBe(0);
    });
  });
});
