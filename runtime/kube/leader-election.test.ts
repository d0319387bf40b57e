import { afterEach, describe, expect, it, vi } from 'vitest';

import { createFakeClock, settle } from '../clock.fake.ts';
import { silentLogger } from '../log.ts';
import type { KubeClient } from './client.ts';
import { ApiError } from './errors.ts';
import { runLeaderElection, type ElectionEnd, type LeaderTerm } from './leader-election.ts';
import type { Lease } from './types.ts';

const refuse = (status: number, reason: string): ApiError =>
  new ApiError({ status, reason, message: reason });

/** One Lease with the API server's optimistic locking; `cut` makes it unreachable for one identity. */
const createLeaseServer = (): {
  client: (identity: string) => KubeClient;
  cut: Set<string>;
  lease: () => Lease;
} => {
  let stored: Lease | undefined;
  let version = 0;
  const cut = new Set<string>();
  const store = (object: unknown): Promise<Lease> => {
    version += 1;
    const lease = structuredClone(object) as Lease;
    stored = { ...lease, metadata: { ...lease.metadata, uid: 'uid', resourceVersion: String(version) } };
    return Promise.resolve(stored);
  };
  const client = (identity: string): KubeClient => {
    const guard = <T>(work: () => Promise<T>): Promise<T> =>
      cut.has(identity) ? Promise.reject(refuse(0, 'Unreachable')) : work();
    const methods = {
      get: () => guard(() => Promise.resolve(stored)),
      create: (_: unknown, object: unknown) =>
        guard(() => (stored ? Promise.reject(refuse(409, 'AlreadyExists')) : store(object))),
      update: (_: unknown, object: Lease) =>
        guard(() =>
          object.metadata.resourceVersion === stored?.metadata.resourceVersion
            ? store(object)
            : Promise.reject(refuse(409, 'Conflict')),
        ),
    };
    return methods as unknown as KubeClient;
  };
  return {
    client,
    cut,
    lease: () => {
      if (!stored) throw new Error('no lease');
      return stored;
    },
  };
};

const setUp = () => {
  const clock = createFakeClock();
  const server = createLeaseServer();
  const leading = new Map<string, LeaderTerm>();
  let mostAtOnce = 0;
  const join = (identity: string): { stop: () => void; end: Promise<ElectionEnd> } => {
    const stopping = new AbortController();
    const end = runLeaderElection({
      client: server.client(identity),
      namespace: 'fluvia-system',
      name: 'fluvia-controller',
      identity,
      clock,
      log: silentLogger,
      signal: stopping.signal,
      lead: async (term) => {
        leading.set(identity, term);
        mostAtOnce = Math.max(mostAtOnce, leading.size);
        await new Promise((resolve) => term.signal.addEventListener('abort', resolve));
        leading.delete(identity);
      },
    });
    return { stop: () => stopping.abort(new Error('stop')), end };
  };
  return { clock, server, leading, join, mostAtOnce: () => mostAtOnce };
};

describe('leader election', () => {
  afterEach(() => vi.restoreAllMocks());

  it('has one leader while it renews, and hands over at once on a graceful stop', async () => {
    const { clock, server, leading, join, mostAtOnce } = setUp();
    const a = join('a');
    await settle();
    const b = join('b');
    await clock.advance(60_000);
    expect([...leading.keys()]).toEqual(['a']);
    a.stop();
    expect(await a.end).toBe('stopped');
    expect(server.lease().spec?.holderIdentity).toBe('');
    await clock.advance(1200);
    expect([...leading.keys()]).toEqual(['b']);
    expect(leading.get('b')?.transitions).toBe(2);
    expect(mostAtOnce()).toBe(1);
    b.stop();
    expect(await b.end).toBe('stopped');
  });

  it('a leader that is cut off stops before the standby starts, and the term number grows', async () => {
    const { clock, server, leading, join, mostAtOnce } = setUp();
    const a = join('a');
    await settle();
    const b = join('b');
    await clock.advance(10_000);
    const first = leading.get('a')?.transitions;
    server.cut.add('a');
    await clock.advance(4900);
    expect(await a.end).toBe('lost');
    expect([...leading.keys()]).toEqual([]);
    await clock.advance(4000);
    expect([...leading.keys()]).toEqual(['b']);
    expect(leading.get('b')?.transitions).toBe((first ?? 0) + 1);
    expect(mostAtOnce()).toBe(1);
    b.stop();
    await b.end;
  });

  it('keeps leading over an outage shorter than the renew deadline', async () => {
    // three waits at their longest are more than the deadline
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const { clock, server, leading, join } = setUp();
    const a = join('a');
    await clock.advance(5000);
    server.cut.add('a');
    await clock.advance(2000);
    server.cut.delete('a');
    await clock.advance(10_000);
    expect([...leading.keys()]).toEqual(['a']);
    a.stop();
    await a.end;
  });

  it('keeps leading when the answer to a renewal was lost', async () => {
    const { clock, server, leading, join } = setUp();
    const a = join('a');
    await clock.advance(1500);
    // A version that the leader doesn't know, but still its own.
    await server.client('other').update({} as never, { ...server.lease() } as never);
    await clock.advance(10_000);
    expect([...leading.keys()]).toEqual(['a']);
    expect(leading.get('a')?.transitions).toBe(1);
    a.stop();
    await a.end;
  });
});
