import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Invite } from '../api/v1alpha1/invite.ts';
import type { Grant, GrantPolicy } from '../api/v1alpha1/grant.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { FluviaError } from '../api/errors.ts';
import { judgeClaim, rulesFor } from './plan-grant.ts';
import { planInvite } from './plan-invite.ts';
import { planJoin, type JoinFacts, type JoinWorld } from './plan-join.ts';
import { planPeerStatus, ownPeerStatus, type ObservedLink } from './plan-peer-status.ts';

describe('rulesFor', () => {
  it('takes the policy that names the peer, else the default', () => {
    const policy = (name: string, spec: object): GrantPolicy =>
      ({ apiVersion: 'fluvia.dev/v1alpha1', kind: 'GrantPolicy', metadata: { name }, spec }) as GrantPolicy;
    const policies = [
      policy('default', { sharePercent: 50 }),
      policy('some', { peers: ['home'], sharePercent: 10, zone: 'z' }),
    ];
    expect(rulesFor(policies, 'home')).toMatchObject({ sharePercent: 10, zone: 'z' });
    expect(rulesFor(policies, 'west')).toMatchObject({ sharePercent: 50 });
    expect(rulesFor([], 'west')).toMatchObject({ sharePercent: 80 });
  });
});

describe('judgeClaim', () => {
  const grant = (name: string, spec: object): Grant =>
    ({ apiVersion: 'fluvia.dev/v1alpha1', kind: 'Grant', metadata: { name }, spec }) as Grant;

  it.each([
    ['east', undefined, true],
    ['east', { cpu: '2' }, true],
    ['', undefined, false],
    ['../x', undefined, false],
    ['x'.repeat(253), undefined, false],
    ['east', { cpu: '1e999' }, false],
  ] as const)('judges claim %s', (claim, asked, good) => {
    expect(judgeClaim('home', claim, asked, []) === undefined).toBe(good);
  });

  it('never lets one peer have another’s Grant', () => {
    const grants = [grant('a-b-c', { peer: 'a', claim: 'b-c' })];
    expect(judgeClaim('a', 'b-c', undefined, grants)).toBeUndefined();
    expect(judgeClaim('a-b', 'c', undefined, grants)).toMatch(/another claim/);
  });
});

const peer = (name: string, clusterID: string, pin: string, inviteID?: string): Peer => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Peer',
  metadata: { name },
  spec: {
    clusterID,
    pins: [pin],
    endpoints: [],
    roles: ['Consumer'],
    paused: false,
    cordoned: false,
    ...(inviteID === undefined ? {} : { inviteID }),
  },
});

const invite = (spec: Partial<Invite['spec']> = {}): Invite => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Invite',
  metadata: { name: 'inv-1' },
  spec: {
    publicKey: '',
    expiresAt: '2026-01-01T01:00:00Z',
    uses: 1,
    roles: ['Consumer'],
    endpoints: ['h:1'],
    usedBy: [],
    ...spec,
  },
});

const NOW = Date.parse('2026-01-01T00:30:00Z');

describe('planJoin', () => {
  const facts: JoinFacts = {
    inviteID: 'inv-1',
    pin: 'p1',
    clusterID: 'c1',
    name: 'home',
    roles: ['Consumer'],
  };
  const world: JoinWorld = { invite: invite(), peers: [], own: { pin: 'p0', name: 'east' }, nowMs: NOW };
  const usedBy = (pin: string) => [
    { clusterID: pin.replace('p', 'c'), pin, name: 'x', usedAt: new Date(NOW).toISOString() },
  ];
  const code = (f: JoinFacts, w: JoinWorld): string => {
    try {
      planJoin(f, w);
      return 'admitted';
    } catch (error) {
      return (error as FluviaError).code.replace('FLUVIA_ERR_', '');
    }
  };

  it('records a new joiner', () => {
    expect(planJoin(facts, world)).toEqual({ record: true, write: true, existing: undefined });
  });

  it('completes a recorded use for a while, also after expiry', () => {
    const used = invite({ usedBy: usedBy('p1'), expiresAt: '2026-01-01T00:00:00Z' });
    expect(planJoin(facts, { ...world, invite: used })).toEqual({
      record: false,
      write: true,
      existing: undefined,
    });
  });

  it('brings nobody back with an invite that it used long ago', () => {
    const used = invite({ usedBy: usedBy('p1'), uses: 5 });
    const later = { ...world, invite: used, nowMs: NOW + 3_600_000 };
    expect(code(facts, later)).toBe('INVITE_USED');
    // Nor does it make of a Peer what an invite before said.
    expect(code(facts, { ...later, peers: [peer('home', 'c1', 'p1', 'inv-2')] })).toBe('INVITE_USED');
  });

  it('answers a joiner again, also after the invite is gone, and changes nothing', () => {
    const there = peer('home', 'c1', 'p1', 'inv-1');
    for (const left of [undefined, invite({ usedBy: usedBy('p1'), uses: 5 })]) {
      expect(planJoin(facts, { ...world, invite: left, peers: [there] })).toEqual({
        record: false,
        write: false,
        existing: there,
      });
    }
  });

  it('gives nobody more by asking again, whatever the invite allows', () => {
    const there = peer('home', 'c1', 'p1', 'inv-1');
    const both = invite({ usedBy: usedBy('p1'), uses: 5, roles: ['Consumer', 'Provider'] });
    for (const left of [undefined, both]) {
      const again = { ...world, invite: left, peers: [there] };
      expect(code({ ...facts, roles: ['Consumer', 'Provider'] }, again)).toBe('INVITE_INVALID');
      expect(code({ ...facts, roles: ['Provider'] }, again)).toBe('INVITE_INVALID');
    }
  });

  it('lets a new invite change what a peer is', () => {
    const there = peer('home', 'c1', 'p1', 'inv-0');
    expect(planJoin(facts, { ...world, peers: [there] })).toEqual({
      record: true,
      write: true,
      existing: there,
    });
  });

  it.each([
    ['INVITE_USED', {}, { invite: invite({ usedBy: usedBy('p2') }) }],
    ['INVITE_USED', {}, { invite: undefined, peers: [peer('x', 'c2', 'p2', 'inv-1')] }],
    ['INVITE_INVALID', {}, { invite: undefined }],
    ['INVITE_INVALID', { roles: ['Provider'] }, {}],
    ['INVITE_INVALID', { roles: [] }, {}],
    ['INVITE_EXPIRED', {}, { nowMs: Date.parse('2026-01-01T01:00:00Z') }],
    ['SAME_IDENTITY', { pin: 'p0' }, {}],
    ['CONFLICT', { name: 'east' }, {}],
    ['CONFLICT', {}, { peers: [peer('home', 'c9', 'p9')] }],
    ['CONFLICT', {}, { peers: [peer('other', 'c1', 'p1')] }],
  ] as const)('refuses with %s', (wanted, f, w) => {
    expect(code({ ...facts, ...f }, { ...world, ...w })).toBe(wanted);
  });

  it('tells a stranger without an invite nothing of the names here', () => {
    const peers = [peer('secret', 'c9', 'p9')];
    for (const name of ['secret', 'east', 'unknown']) {
      expect(code({ ...facts, name }, { ...world, invite: undefined, peers })).toBe('INVITE_INVALID');
    }
  });

  it('admits no more joiners than uses, whatever the order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 30 }),
        (uses, order) => {
          let current = invite({ uses });
          const admitted = new Set<number>();
          let refusedAgain = false;
          for (const n of order) {
            const f = { ...facts, pin: `p${n}`, clusterID: `c${n}`, name: `n${n}` };
            const result = code(f, { ...world, invite: current });
            if (result !== 'admitted') {
              refusedAgain ||= admitted.has(n);
              continue;
            }
            if (!admitted.has(n))
              current = invite({ uses, usedBy: [...current.spec.usedBy, ...usedBy(f.pin)] });
            admitted.add(n);
          }
          expect(refusedAgain).toBe(false);
          expect(admitted.size).toBe(Math.min(uses, new Set(order).size));
        },
      ),
    );
  });
});

describe('planInvite', () => {
  const used = invite({ usedBy: [{ clusterID: 'c1', pin: 'p1', name: 'home', usedAt: '' }] });

  it('keeps a used-up invite until its joiner has a Peer', () => {
    expect(planInvite(used, [], NOW).delete).toBe(false);
    expect(planInvite(used, [peer('home', 'c1', 'p1')], NOW).delete).toBe(true);
  });

  it('deletes what expired, and what never was valid', () => {
    expect(planInvite(invite(), [], NOW)).toEqual({ delete: false, againMs: 2_401_000 });
    expect(planInvite(invite(), [], Date.parse('2026-01-01T01:10:00Z')).delete).toBe(true);
    expect(planInvite(invite({ expiresAt: 'never' }), [], NOW).delete).toBe(true);
  });
});

describe('planPeerStatus', () => {
  const up: ObservedLink = {
    up: true,
    since: '2026-01-01T00:00:00Z',
    lastHeardAt: '2026-01-01T00:00:05Z',
    rttMs: 1.234,
    problem: undefined,
    refused: [],
    facts: { version: '0.1.0', features: ['x'], leaderTransitions: 3, clusterUID: 'u' },
  };
  const home = peer('home', 'c1', 'p1');
  const after = (before: Peer, link: ObservedLink, now: string): Peer => ({
    ...before,
    status: planPeerStatus(before, link, 'f', now),
  });
  const condition = (p: Peer, type: string) => p.status?.conditions?.find((c) => c.type === type);

  it('says the same of the same, so that an idle link writes nothing', () => {
    const once = after(home, up, '2026-01-01T00:00:06Z');
    const again = planPeerStatus(
      once,
      { ...up, lastHeardAt: '2026-01-01T09:00:00Z', rttMs: 9 },
      'f',
      '2026-01-01T09:00:00Z',
    );
    expect(again).toEqual(ownPeerStatus(once.status));
  });

  it('keeps the last answer and what was known when the link goes down', () => {
    const once = after(home, up, '2026-01-01T00:00:06Z');
    const down = after(
      once,
      { ...up, up: false, problem: 'no answer for 6 s', facts: undefined },
      '2026-01-01T00:01:00Z',
    );
    expect(down.status?.link).toMatchObject({ state: 'Down', lastHeardAt: up.lastHeardAt, version: '0.1.0' });
    expect(condition(down, 'Ready')).toMatchObject({
      status: 'False',
      message: 'No link to home: no answer for 6 s',
    });
    expect(down.status?.leaderTransitions).toBe(3);
  });

  it('is ready only with the network that network-fabric reports, and leaves that condition to it', () => {
    const conditions = [
      {
        type: 'NetworkReady',
        status: 'False',
        reason: 'NoGateway',
        message: 'no gateway',
        lastTransitionTime: 't',
      },
    ] as const;
    const p = after({ ...home, status: { conditions: [...conditions] } }, up, 'now');
    expect(condition(p, 'Ready')).toMatchObject({ status: 'False', message: 'no gateway' });
    expect(condition(p, 'NetworkReady')).toBeUndefined();
  });

  it('says who is waited for before the first connection', () => {
    const waiting = { ...up, up: false, facts: undefined, lastHeardAt: undefined };
    expect(condition(after(home, waiting, 'now'), 'LinkReady')?.message).toBe(
      'Waiting until home connects: it is the side that dials.',
    );
    const paused = { ...home, spec: { ...home.spec, paused: true } };
    expect(after(paused, waiting, 'now').status?.link?.state).toBe('Paused');
  });
});
