import * as fc from 'fast-check';
import { describe, expect, it, vi, type TestContext } from 'vitest';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import { peeringServices } from '../proto/load.ts';
import type { HelloRequest } from '../proto/peering.ts';
import { silentLogger } from '../runtime/log.ts';
import { startFakeCluster, type FakeCluster } from './clusters.fake.ts';
import { errorOfTrailers, toServiceError } from './grpc-errors.ts';
import { serveOnSocket } from './grpc-server.ts';
import { loadIdentity } from './identity.ts';
import { leaveByDialling } from './leave.ts';
import { ALPN } from './protocol.ts';
import { createInvite, requestJoin } from './requests.ts';
import { PEER } from './resources.ts';
import { createLinkTerm, highestTerm, MOST_TERM, TermOverError, type Term } from './term.ts';
import { dialPinned } from './tls.ts';

/** Leader terms over real links: what raises them, and whom that reaches. */

type Finish = TestContext['onTestFinished'];

const cluster = async (finish: Finish, name: string): Promise<FakeCluster> => {
  const started = await startFakeCluster(name);
  finish(() => started.stop());
  return started;
};

const eventually = <T>(check: () => T): Promise<T> => vi.waitFor(check, { timeout: 25_000, interval: 25 });

const areUp = (a: FakeCluster, b: FakeCluster): boolean =>
  (a.peering.links.get(b.name)?.isUp() ?? false) && (b.peering.links.get(a.name)?.isUp() ?? false);

const join = async (reachable: FakeCluster, dialler: FakeCluster, endpoint: string): Promise<void> => {
  const { token } = await createInvite(reachable.kube.client, { endpoints: [endpoint] });
  await requestJoin(dialler.kube.client, token, { timeoutMs: 10_000 });
  await eventually(() => expect(areUp(reachable, dialler)).toBe(true));
};

const termAt = (where: FakeCluster, peer: string): number | undefined =>
  where.kube.all<Peer>(PEER).find(({ metadata }) => metadata.name === peer)?.status?.leaderTransitions;

/** Connects to `east` as `hostile`, so that east calls, and answers each Hello with `answer`; gives the terms that it heard. */
const answerHello = async (
  finish: Finish,
  east: FakeCluster,
  hostile: FakeCluster,
  answer: () => Error,
): Promise<number[]> => {
  const identity = await loadIdentity(hostile.kube.client, {
    namespace: 'fluvia-system',
    clusterName: hostile.name,
  });
  const heard: number[] = [];
  const Hello = (call: { readonly request: HelloRequest }, callback: (error: Error | null) => void): void => {
    heard.push(call.request.leaderTransitions);
    callback(answer());
  };
  const stopper = new AbortController();
  finish(() => stopper.abort());
  const serve = async (): Promise<void> => {
    while (!stopper.signal.aborted) {
      const { socket } = await dialPinned(
        east.endpoint,
        ALPN.serve,
        [east.peering.identity.pin],
        identity,
        stopper.signal,
      );
      finish(() => void socket.destroy());
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      const definition = { Hello: peeringServices().fabric.Hello };
      serveOnSocket(socket, [{ definition, implementation: { Hello } }], { messageBytes: 1e6, streams: 4 });
      await closed;
    }
  };
  serve().catch(() => undefined);
  return heard;
};

const holds: Term = { transitions: 3, isLeading: () => true };

describe('createLinkTerm', () => {
  it('goes above what an honest peer remembers, however high, and is accepted there', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (transitions, seen) => {
        const term = createLinkTerm({ ...holds, transitions });
        term.raiseAbove(seen);
        expect(Number.isSafeInteger(term.current())).toBe(true);
        expect(term.current()).toBeGreaterThanOrEqual(transitions);
        expect(highestTerm(seen, term.current())).toBe(term.current());
      }),
    );
  });

  it.each([Infinity, NaN, 0.5, -1, 2, 3, 2 ** 53, 1e300])('takes no step for %s', (seen) => {
    const term = createLinkTerm(holds);
    expect(term.raiseAbove(seen)).toBe(false);
    expect(term.current()).toBe(3);
  });

  it('stays where the Lease is lost: that leader is the one to keep out', () => {
    const term = createLinkTerm({ transitions: 3, isLeading: () => false });
    expect(term.raiseAbove(7)).toBe(false);
    expect(term.current()).toBe(3);
  });
});

describe('highestTerm', () => {
  it('takes equal and higher ones, and refuses lower ones and what is no number', () => {
    expect(highestTerm(3, 3)).toBe(3);
    expect(highestTerm(3, 9)).toBe(9);
    expect(() => highestTerm(3, 2)).toThrow(TermOverError);
    for (const said of [-1, 0.5, NaN, Infinity, 2 ** 53])
      expect(() => highestTerm(0, said)).toThrow(/no whole number/);
  });

  it('lets a peer whose stored number no term can reach come back', () => {
    expect(highestTerm(1e300, MOST_TERM)).toBe(MOST_TERM);
  });
});

describe('a refused term on the wire', () => {
  const trailersOf = (error: unknown): Record<string, string> => {
    const { metadata, code, details } = toServiceError(error);
    const values = Object.entries(metadata.getMap()).map(([name, value]) => [name, value.toString()]);
    return { ...Object.fromEntries(values), 'grpc-status': String(code), 'grpc-message': details };
  };

  it('keeps its number', () => {
    const read = errorOfTrailers('Hello', trailersOf(new TermOverError(7, 'over')));
    expect(read).toBeInstanceOf(TermOverError);
    expect(read).toMatchObject({ seen: 7, kind: 'stalled', message: 'over' });
  });

  it('is read from its own trailer only, and only as a number', () => {
    const said = trailersOf(new FluviaError(ERROR_CODES.PROTOCOL, 'no (fluvia-term 9)'));
    for (const term of [undefined, '', '-1', '1e9', '99999999999999999', '7 8'])
      expect(errorOfTrailers('Hello', { ...said, 'fluvia-term': term })).not.toBeInstanceOf(TermOverError);
  });
});

describe.concurrent('a leader’s term', { timeout: 60_000 }, () => {
  it('is raised by one peer’s word for that peer only', async ({ onTestFinished }) => {
    const [east, home, hostile] = [
      await cluster(onTestFinished, 'east'),
      await cluster(onTestFinished, 'home'),
      await cluster(onTestFinished, 'hostile'),
    ];
    await join(east, home, east.endpoint);
    await join(east, hostile, east.endpoint);
    await hostile.stop();
    const texts = await answerHello(onTestFinished, east, hostile, () =>
      toServiceError(new FluviaError(ERROR_CODES.PROTOCOL, 'no (fluvia-term 999999999999999)')),
    );
    await eventually(() => expect(texts.length).toBeGreaterThan(2));
    await home.restart();
    await eventually(() => expect(areUp(east, home)).toBe(true));
    await east.restart();
    await eventually(() => expect(areUp(east, home)).toBe(true));
    await eventually(() => expect(termAt(home, 'east')).toBe(2));
  });

  it('stays above a peer’s lie for that peer alone, also where the lie is a proper one', async ({
    onTestFinished,
  }) => {
    const [east, home, hostile] = [
      await cluster(onTestFinished, 'east'),
      await cluster(onTestFinished, 'home'),
      await cluster(onTestFinished, 'hostile'),
    ];
    await join(east, home, east.endpoint);
    await join(east, hostile, east.endpoint);
    await hostile.stop();
    const heard = await answerHello(onTestFinished, east, hostile, () =>
      toServiceError(new TermOverError(MOST_TERM, 'over')),
    );
    await eventually(() => expect(heard).toContain(MOST_TERM));
    await home.restart();
    await eventually(() => expect(areUp(east, home)).toBe(true));
    await eventually(() => expect(termAt(east, 'home')).toBe(2));
    expect(termAt(home, 'east')).toBe(1);
    // The liar, honest again, remembers what it made up; its link comes back by itself.
    await hostile.restart();
    await eventually(() => expect(areUp(east, hostile)).toBe(true));
  });

  it('comes back where the Leases of both sides were made anew, also after every restart', async ({
    onTestFinished,
  }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    await join(east, home, east.endpoint);
    // What a version that believed its peers may have stored.
    await east.restart(1_000_000_000_000_000);
    await home.restart(500);
    await eventually(() => expect(areUp(east, home)).toBe(true));
    await eventually(() => expect(termAt(home, 'east')).toBe(1_000_000_000_000_000));
    await east.restart(1);
    await home.restart(1);
    await eventually(() => expect(areUp(east, home)).toBe(true));
    await eventually(() => expect(termAt(home, 'east')).toBe(1_000_000_000_000_001));
    await east.restart();
    await eventually(() => expect(areUp(east, home)).toBe(true));
    await eventually(() => expect(termAt(home, 'east')).toBe(1_000_000_000_000_002));
    expect(termAt(east, 'home')).toBe(501);
  });

  it('does not keep a peer from being told of the end by a leader of a new Lease', async ({
    onTestFinished,
  }) => {
    const [east, home] = [await cluster(onTestFinished, 'east'), await cluster(onTestFinished, 'home')];
    await join(east, home, east.endpoint);
    await home.restart(9);
    await eventually(() => expect(termAt(east, 'home')).toBe(9));
    await home.stop();
    const identity = await loadIdentity(home.kube.client, {
      namespace: 'fluvia-system',
      clusterName: 'home',
    });
    const [atHome] = home.kube.all<Peer>(PEER);
    await leaveByDialling(atHome!, identity, holds, silentLogger, new AbortController().signal);
    // Its answer may be cut off with the link that it ends.
    await eventually(() => expect(east.kube.all(PEER)).toEqual([]));
  });
});
