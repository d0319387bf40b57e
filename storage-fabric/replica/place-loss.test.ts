import { describe, expect, it } from 'vitest';
import type { Links, PeerLink } from '../../api/link.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import { createFakeClock } from '../../runtime/clock.fake.ts';
import type { Change } from '../../runtime/kube/informer.ts';
import { watchPlaces } from './place-loss.ts';

const START = Date.UTC(2026, 10, 25);

const peerOf = (paused: boolean, link?: NonNullable<Peer['status']>['link']): Peer => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Peer',
  metadata: { name: 'east' },
  spec: {
    clusterID: 'e'.repeat(26),
    pins: ['0'.repeat(64)],
    endpoints: [],
    roles: ['Provider'],
    paused,
    cordoned: false,
  },
  ...(link === undefined ? {} : { status: { link } }),
});

/** A leader that begins now, with one peer that it has not heard yet. */
const begin = (link?: NonNullable<Peer['status']>['link']) => {
  const clock = createFakeClock(START);
  const leader = new AbortController();
  const peering = new AbortController();
  const states = new Set<() => void>();
  const changes = new Set<(change: Change<Peer>) => void>();
  let isUp = false;
  let lastAnswer: number | undefined;
  let peer: Peer | undefined = peerOf(false, link);
  const end = {
    peer: 'east',
    signal: peering.signal,
    isUp: () => isUp,
    silenceMs: () => (lastAnswer === undefined ? Infinity : clock.monotonicMs() - lastAnswer),
    onStateChange: (listener: () => void) => {
      states.add(listener);
      return () => void states.delete(listener);
    },
  } as unknown as PeerLink;
  const links = {
    onLink: (listener: (one: PeerLink) => void) => {
      listener(end);
      return () => {};
    },
  } as unknown as Links;
  const peers = {
    get: (_namespace: string | undefined, name: string) => (name === 'east' ? peer : undefined),
    onChange: (listener: (change: Change<Peer>) => void) => {
      changes.add(listener);
      return () => void changes.delete(listener);
    },
  };
  const places = watchPlaces(links, peers, clock, leader.signal);
  const lost: string[] = [];
  places.onLoss((place) => lost.push(place));
  const setUp = (up: boolean): void => {
    isUp = up;
    if (up) lastAnswer = clock.monotonicMs();
    for (const listener of states) listener();
  };
  const setPaused = (paused: boolean): void => {
    const old = peer ?? peerOf(false);
    peer = peerOf(paused);
    for (const listener of changes) listener({ type: 'updated', object: peer, old });
  };
  const forget = (): void => {
    const object = peer ?? peerOf(false);
    peer = undefined;
    peering.abort();
    for (const listener of changes) listener({ type: 'deleted', object });
  };
  return { clock, places, lost, setUp, setPaused, forget, leader };
};

describe('watchPlaces', () => {
  it('gives a peer 30 s from the start of a term to answer: a take-over is no loss', async () => {
    const { clock, places, lost } = begin();
    expect(places.state('east')).toBe('unsure');
    await clock.advance(29_999);
    expect(places.state('east')).toBe('unsure');
    expect(lost).toEqual([]);
    await clock.advance(1);
    expect(places.state('east')).toBe('lost');
    // somebody has to look: nothing else happens in a silent peering
    expect(lost).toEqual(['east']);
  });

  it('calls one that was heard lost after 8 s of silence, and told so once', async () => {
    const { clock, places, lost, setUp } = begin();
    setUp(true);
    expect(places.state('east')).toBe('up');
    await clock.advance(6000);
    setUp(false);
    expect(places.state('east')).toBe('unsure');
    await clock.advance(1999);
    expect(places.state('east')).toBe('unsure');
    await clock.advance(1);
    expect(places.state('east')).toBe('lost');
    setUp(true);
    expect(places.state('east')).toBe('up');
    await clock.advance(60_000);
    expect(lost).toEqual(['east']);
  });

  it('forgets a break that ended in time', async () => {
    const { clock, places, lost, setUp } = begin();
    setUp(true);
    setUp(false);
    await clock.advance(7000);
    setUp(true);
    await clock.advance(60_000);
    expect(places.state('east')).toBe('up');
    expect(places.upForMs('east')).toBe(60_000);
    expect(lost).toEqual([]);
  });

  it('never calls one lost that a person paused, and gives it time once it is paused no more', async () => {
    const { clock, places, lost, setUp, setPaused } = begin();
    setUp(true);
    setUp(false);
    setPaused(true);
    await clock.advance(3_600_000);
    expect(places.state('east')).toBe('paused');
    setPaused(false);
    await clock.advance(29_000);
    expect(places.state('east')).toBe('unsure');
    expect(lost).toEqual([]);
    await clock.advance(1000);
    expect(places.state('east')).toBe('lost');
  });

  it('knows from the leader before when a peer was heard last, unless that tells of an earlier break', () => {
    const since = '2026-11-24T23:59:00.000Z';
    const lastHeardAt = '2026-11-24T23:58:54.000Z';
    expect(begin({ state: 'Down', since, lastHeardAt }).places.heardAt('east')).toBe(Date.parse(lastHeardAt));
    expect(begin({ state: 'Up', since, lastHeardAt }).places.heardAt('east')).toBeUndefined();
    expect(begin().places.heardAt('east')).toBeUndefined();
  });

  it('remembers when one was heard last that is no peer any more', async () => {
    const { clock, places, setUp, forget } = begin();
    setUp(true);
    await clock.advance(5000);
    forget();
    setUp(false);
    await clock.advance(600_000);
    expect(places.state('east')).toBe('lost');
    expect(places.heardAt('east')).toBe(START);
  });

  it('leaves no timer behind', async () => {
    const { clock, leader } = begin();
    leader.abort();
    await clock.advance(1);
    expect(clock.pending).toBe(0);
  });
});
