import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import type { MoveNote } from './move-note.ts';
import { choosePoint, lossText, planMove, type MoveWorld } from './plan-move.ts';
import type { Target } from './plan-target.ts';
import { volumePlace } from '../volumes/volume-place.fake.ts';

const NOW = Date.parse('2026-11-25T03:00:00Z');
const up: Target = { isUp: true, hasStore: true };
const point = (more: Partial<RecoveryPoint> = {}): RecoveryPoint => ({
  peer: 'west',
  epoch: 1,
  sequence: 3,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: '2026-11-25T02:59:30Z',
  bytesScanned: 1,
  bytesSent: 1,
  ...more,
});
const base: MoveWorld = {
  now: NOW,
  note: undefined,
  place: volumePlace(),
  wanted: undefined,
  users: 1,
  isOffered: false,
  bareUser: undefined,
  waiting: 0,
  points: [point()],
  allowBestEffort: false,
  maxAgeSeconds: undefined,
  targets: new Map([
    ['east', up],
    ['west', up],
    ['bare', { isUp: true, hasStore: false }],
    ['dead', { isUp: false, hasStore: true }],
    ['idle', { isUp: false, hasStore: true, isPaused: true }],
    ['shut', { ...up, closed: { reason: 'NamespaceNotOpen', message: 'not open at shut' } }],
  ]),
  isSourceLost: false,
  isDataLost: false,
  isSourceWhole: false,
  goneAt: new Set(),
  sourceHeardAt: NOW,
  transfer: undefined,
  isBusy: false,
  isAsking: false,
  lastSequence: 3,
};
const note = (stage: MoveNote['stage'], more: Partial<MoveNote> = {}): MoveNote => ({
  kind: 'planned',
  from: 'east',
  to: 'west',
  stage,
  startedAt: '2026-11-25T02:59:50Z',
  failures: 0,
  ...more,
});

describe('a planned move', () => {
  it.each([
    ['east', 'AlreadyThere'],
    ['nobody', 'UnknownPeer'],
    ['bare', 'NoStore'],
    ['dead', 'PeerUnreachable'],
    ['idle', 'PeerPaused'],
    ['shut', 'NamespaceNotOpen'],
  ])('to %s is refused: %s', (wanted, reason) => {
    expect(planMove({ ...base, wanted })).toMatchObject({ do: 'refuse', reason });
  });

  it('of a volume that was never made is refused', () => {
    const place = { ...base.place, isMade: false };
    expect(planMove({ ...base, place, wanted: 'west' })).toMatchObject({ do: 'refuse', reason: 'NotMade' });
  });

  it('drops another wish while it is under way, and goes on', () => {
    for (const stage of ['stop', 'copy', 'restore', 'salvage'] as const) {
      expect(planMove({ ...base, wanted: 'dead', note: note(stage) })).toMatchObject({
        do: 'drop',
        reason: 'MoveUnderWay',
      });
      expect(planMove({ ...base, wanted: 'west', note: note(stage) }).do).not.toBe('drop');
    }
  });

  it('is refused from a paused peer', () => {
    const targets = new Map([...base.targets, ['east', { ...up, isPaused: true }]]);
    expect(planMove({ ...base, targets, wanted: 'west' })).toMatchObject({ reason: 'SourcePaused' });
  });

  it('waits while a peer has not answered yet, as after a take-over, instead of refusing', () => {
    for (const peer of ['east', 'west']) {
      const targets = new Map([...base.targets, [peer, { isUp: false, isUnsure: true, hasStore: false }]]);
      expect(planMove({ ...base, targets, wanted: 'west' })).toMatchObject({ do: 'wait' });
    }
  });

  it('is refused from a lost peer', () => {
    expect(planMove({ ...base, wanted: 'west', isSourceLost: true })).toMatchObject({
      reason: 'SourceUnreachable',
    });
  });

  it('stops the writers, copies the last delta, restores at a raised epoch, and ends', () => {
    expect(planMove({ ...base, wanted: 'west' })).toMatchObject({
      do: 'note',
      epoch: 1,
      note: { stage: 'stop' },
    });
    expect(planMove({ ...base, note: note('stop') })).toEqual({ do: 'evict' });
    const stopped = { ...base, users: 0 };
    expect(planMove({ ...stopped, note: note('stop') })).toMatchObject({
      do: 'note',
      note: { stage: 'copy' },
    });
    expect(planMove({ ...stopped, note: note('copy') })).toMatchObject({
      do: 'copy',
      to: 'west',
      sequence: 4,
    });
    const cut = point({ sequence: 4, consistency: 'Stopped' });
    expect(
      planMove({ ...stopped, note: note('copy'), transfer: { state: 'done', point: cut } }),
    ).toMatchObject({
      do: 'note',
      epoch: 2,
      note: { stage: 'restore', point: cut },
    });
    const place = { ...base.place, epoch: 2 };
    expect(planMove({ ...stopped, place, note: note('restore', { point: cut }) })).toMatchObject({
      do: 'restore',
      point: cut,
    });
    expect(
      planMove({
        ...stopped,
        place,
        note: note('restore', { point: cut }),
        transfer: { state: 'done', point: undefined },
      }),
    ).toMatchObject({ do: 'end', location: 'west', retained: ['east'], end: { ok: true, cutAt: cut.cutAt } });
  });

  it('copies nothing before no node offers the volume any more, and begins again when a pod came in meanwhile', () => {
    const stopped = { ...base, users: 0 };
    expect(planMove({ ...stopped, isOffered: true, note: note('stop') })).toMatchObject({ do: 'wait' });
    for (const transfer of [undefined, { state: 'running' }, { state: 'done', point: point() }] as const)
      expect(planMove({ ...base, note: note('copy'), transfer })).toMatchObject({
        do: 'note',
        epoch: 1,
        note: { stage: 'stop', failures: 0 },
      });
  });

  it('is refused while a pod that nobody would start again uses it', () => {
    expect(planMove({ ...base, wanted: 'west', bareUser: 'db' })).toMatchObject({ reason: 'BarePod' });
  });

  it('first keeps what the target wrote before it was lost', () => {
    const place = { ...base.place, retained: ['west'], diverged: ['west'] };
    expect(planMove({ ...base, place, wanted: 'west' })).toMatchObject({ note: { stage: 'salvage' } });
    const world = { ...base, place, note: note('salvage') };
    expect(planMove(world)).toMatchObject({ do: 'salvage', at: 'west', sequence: 4 });
    expect(planMove({ ...world, transfer: { state: 'done', point: point() } })).toMatchObject({
      note: { stage: 'stop' },
    });
    const restored = { ...base, place, note: note('restore', { point: point() }) };
    expect(planMove({ ...restored, transfer: { state: 'done', point: undefined } })).toMatchObject({
      do: 'end',
      diverged: [],
    });
  });

  it('keeps nothing where the old copy is gone: its claim was deleted, or another cluster has the name', () => {
    const place = { ...base.place, retained: ['west'], diverged: ['west'] };
    const world = { ...base, place, goneAt: new Set(['west']) };
    expect(planMove({ ...world, wanted: 'west' })).toMatchObject({ note: { stage: 'stop' }, forget: 'west' });
    // also when it turns out in the middle of it
    const failed = { state: 'failed', message: 'NoVolume: there is no volume here' } as const;
    expect(planMove({ ...world, note: note('salvage', { failures: 2 }), transfer: failed })).toMatchObject({
      do: 'note',
      note: { stage: 'stop', failures: 0 },
      forget: 'west',
    });
    // that of another place is nobody's concern
    const other = planMove({ ...world, goneAt: new Set(['bare']), wanted: 'west' });
    expect(other).toMatchObject({ note: { stage: 'salvage' } });
    expect('forget' in other && other.forget).toBeUndefined();
  });

  it.each([
    [1, 5000],
    [2, 10_000],
    [3, 20_000],
    [4, 30_000],
    [40, 30_000],
  ])('waits after failure %i for %i ms before the next try', (failures, waitMs) => {
    const tried = (agoMs: number): string =>
      planMove({
        ...base,
        users: 0,
        note: note('copy', { failures, failedAt: new Date(NOW - agoMs).toISOString() }),
      }).do;
    expect(tried(waitMs - 1)).toBe('wait');
    expect(tried(waitMs)).toBe('copy');
    // a clock that was set back
    expect(tried(-3_600_000)).toBe('copy');
  });

  it('gives up after five failures and leaves the volume where it is', () => {
    const failed = { ...base, users: 0, transfer: { state: 'failed', message: 'store full' } as const };
    expect(planMove({ ...failed, note: note('copy') })).toMatchObject({ do: 'note', note: { failures: 1 } });
    expect(planMove({ ...failed, note: note('copy', { failures: 4 }) })).toMatchObject({
      do: 'end',
      location: 'east',
      retained: [],
      end: { ok: false },
    });
  });

  it('waits for a mover that is still ending', () => {
    expect(planMove({ ...base, users: 0, note: note('copy'), isBusy: true })).toMatchObject({ do: 'wait' });
  });
});

describe('a failover', () => {
  const lost = { ...base, isSourceLost: true, users: 0, waiting: 1 };

  it('happens only when a pod waits and none may still write', () => {
    expect(planMove({ ...base, waiting: 1 })).toEqual({ do: 'nothing' });
    expect(planMove({ ...lost, waiting: 0 })).toEqual({ do: 'nothing' });
    expect(planMove({ ...lost, users: 1 })).toMatchObject({ do: 'wait' });
    expect(planMove(lost)).toMatchObject({
      do: 'note',
      epoch: 2,
      note: { kind: 'failover', stage: 'restore', to: 'west', point: point() },
    });
  });

  it('is said on the volume for as long as its peer is lost, and says nothing that changes by itself', () => {
    const said = (world: MoveWorld) => lossText(world, planMove(world));
    expect(said({ ...lost, isSourceLost: false })).toBeUndefined();
    expect(said({ ...lost, waiting: 0 })).toBe('peer east does not answer; no pod waits for the volume');
    expect(said({ ...lost, users: 1 })).toBe('peer east does not answer; a pod at east may still write');
    const old = { ...lost, maxAgeSeconds: 10 };
    expect(said(old)).toContain('no failover: the freshest copy (at west) was cut at');
    expect(said({ ...old, now: NOW + 60_000 })).toBe(said(old));
    expect(said({ ...lost, targets: new Map([['west', up]]), points: [] })).toContain(
      'there is no peer east any more; no failover: no peer has a complete copy',
    );
    expect(said(lost)).toBeUndefined();
  });

  it('has nothing to say of a volume that was never made at who is no peer any more: it is made elsewhere', () => {
    const place = { ...lost.place, isMade: false };
    const gone = { ...lost, place, points: [], targets: new Map([['west', up]]) };
    expect(planMove(gone)).toEqual({ do: 'nothing' });
    expect(lossText(gone, planMove(gone))).toBeUndefined();
    // one that is only silent may have made it
    const silent = { ...gone, targets: lost.targets };
    expect(lossText(silent, planMove(silent))).toContain('peer east does not answer');
  });

  it('chooses once peers have told which copies they hold', () => {
    expect(planMove({ ...lost, isAsking: true })).toMatchObject({ do: 'wait' });
  });

  it('goes on from another point there when the store does not have the one it chose', () => {
    const failed = note('restore', { kind: 'failover', failures: 1, point: point({ sequence: 9 }) });
    const world = { ...lost, note: failed, points: [point({ sequence: 3 }), point({ sequence: 2 })] };
    expect(planMove({ ...world, isAsking: true })).toMatchObject({ do: 'wait' });
    expect(planMove(world)).toMatchObject({ do: 'note', epoch: 1, note: { point: { sequence: 3 } } });
    const still = { ...world, points: [point({ sequence: 9 }), ...world.points] };
    expect(planMove(still)).toMatchObject({ do: 'restore', point: { sequence: 9 } });
    expect(planMove({ ...world, points: [] })).toMatchObject({ do: 'restore', point: { sequence: 9 } });
  });

  it('happens also where the peer answers but has the volume no more; its pods, which have nothing, begin anew', () => {
    const gone = { ...base, isDataLost: true, users: 0, waiting: 1 };
    expect(planMove({ ...gone, users: 1 })).toEqual({ do: 'evict' });
    expect(lossText({ ...gone, users: 1 }, { do: 'evict' })).toContain('its pods begin anew');
    expect(planMove({ ...gone, users: 1, bareUser: 'db' })).toMatchObject({ do: 'hold', reason: 'BarePod' });
    expect(planMove({ ...gone, waiting: 0 })).toEqual({ do: 'nothing' });
    const begun = planMove(gone);
    expect(begun).toMatchObject({ do: 'note', epoch: 2, note: { kind: 'failover', to: 'west' } });
    if (begun.do !== 'note') throw new Error(begun.do);
    expect(begun.note.lostAt).toBeUndefined();
    const place = { ...base.place, epoch: 2 };
    const restored = {
      ...gone,
      place,
      note: begun.note,
      transfer: { state: 'done', point: undefined } as const,
    };
    // nothing is there that a salvage could keep
    expect(planMove(restored)).toMatchObject({ do: 'end', location: 'west', diverged: [] });
  });

  it('without a copy waits for a person, who is told what to do', () => {
    const gone = { ...base, isDataLost: true, points: [], waiting: 1 };
    expect(planMove({ ...gone, wanted: 'west' })).toMatchObject({ do: 'refuse', reason: 'VolumeLost' });
    expect(planMove(gone)).toMatchObject({ do: 'hold', reason: 'NoRecoveryPoint' });
    expect(lossText(gone, planMove(gone))).toMatch(
      /^peer east has the volume no more: its claim there was deleted; no failover: no peer has a complete copy; .*delete the claim/,
    );
  });

  it('goes to no peer where its pods could not follow', () => {
    const closed = { reason: 'PeerCordoned', message: 'peer west takes no new pods' };
    const targets = new Map([...base.targets, ['west', { ...up, closed }]]);
    expect(planMove({ ...lost, targets })).toMatchObject({ do: 'hold', reason: 'PeerCordoned' });
  });

  it('says how old the data was when the peer was heard last, not when the restore ended', () => {
    const heardAt = Date.parse('2026-11-25T02:59:42Z');
    const begun = planMove({ ...lost, sourceHeardAt: heardAt });
    if (begun.do !== 'note') throw new Error(begun.do);
    expect(begun.note.lostAt).toBe('2026-11-25T02:59:42.000Z');
    const place = { ...base.place, epoch: 2 };
    const world = {
      ...lost,
      place,
      note: begun.note,
      transfer: { state: 'done', point: undefined } as const,
    };
    expect(planMove(world)).toMatchObject({
      do: 'end',
      end: {
        cutAt: '2026-11-25T02:59:30Z',
        lostAt: '2026-11-25T02:59:42.000Z',
        message:
          'restored from point 3 (FilesystemSnapshot), cut at 2026-11-25T02:59:30Z, 12 s before east was heard last',
      },
    });
  });

  it('begins also where nobody knows when the peer was heard last; its copy counts as one with a tail all the same', () => {
    const begun = planMove({ ...lost, sourceHeardAt: undefined });
    if (begun.do !== 'note') throw new Error(begun.do);
    expect(begun.note).toMatchObject({ kind: 'failover', isLost: true });
    expect(begun.note.lostAt).toBeUndefined();
    const world = {
      ...lost,
      place: { ...base.place, epoch: 2 },
      note: begun.note,
      transfer: { state: 'done', point: undefined } as const,
    };
    expect(planMove(world)).toMatchObject({
      do: 'end',
      diverged: ['east'],
      end: {
        message:
          'restored from point 3 (FilesystemSnapshot), cut at 2026-11-25T02:59:30Z; when east was heard last is not known',
      },
    });
  });

  it('tries on: there is nothing to go back to', () => {
    const world = {
      ...lost,
      note: note('restore', { kind: 'failover', point: point(), failures: 40 }),
      transfer: { state: 'failed', message: 'x' } as const,
    };
    expect(planMove(world)).toMatchObject({ do: 'note', note: { failures: 41 } });
  });

  it.each([
    ['NoRecoveryPoint', { points: [] }],
    ['NoRecoveryPoint', { points: [point({ salvage: true })] }],
    ['NoRecoveryPoint', { points: [point({ peer: 'east' })] }],
    ['StoreUnreachable', { points: [point({ peer: 'dead' })] }],
    ['OnlyBestEffort', { points: [point({ consistency: 'BestEffort' })] }],
    ['TooOld', { maxAgeSeconds: 29 }],
  ] as const)('is held: %s', (reason, more) => {
    expect(planMove({ ...lost, ...more })).toMatchObject({ do: 'hold', reason });
  });

  it('takes the freshest complete point by sequence, whatever the clocks say', () => {
    const arbitrary = fc.array(
      fc.record({
        peer: fc.constantFrom('east', 'west', 'dead'),
        epoch: fc.integer({ min: 0, max: 3 }),
        sequence: fc.integer({ min: 0, max: 50 }),
        consistency: fc.constantFrom('BestEffort' as const, 'Stopped' as const),
        cutAt: fc.constantFrom('2020-01-01T00:00:00Z', '2030-01-01T00:00:00Z'),
      }),
    );
    fc.assert(
      fc.property(arbitrary, (list) => {
        const points = list.map((one) => point(one));
        const chosen = choosePoint({ ...lost, points });
        const fit = points.filter((p) => p.peer === 'west' && p.consistency === 'Stopped');
        if ('reason' in chosen) return fit.length === 0;
        return fit.every(
          (other) =>
            chosen.epoch > other.epoch || (chosen.epoch === other.epoch && chosen.sequence >= other.sequence),
        );
      }),
    );
  });
});

describe('any move', () => {
  it('never lowers the epoch and never has two places', () => {
    const world = fc.record({
      stage: fc.option(fc.constantFrom('stop' as const, 'copy' as const, 'restore' as const)),
      users: fc.integer({ min: 0, max: 2 }),
      waiting: fc.integer({ min: 0, max: 2 }),
      isSourceLost: fc.boolean(),
      isBusy: fc.boolean(),
      wanted: fc.option(fc.constantFrom('east', 'west', 'bare', 'dead', 'nobody')),
      transfer: fc.option(
        fc.constantFrom(
          { state: 'running' as const },
          { state: 'failed' as const, message: 'x' },
          { state: 'done' as const, point: point() },
        ),
      ),
    });
    fc.assert(
      fc.property(world, ({ stage, wanted, transfer, ...rest }) => {
        const action = planMove({
          ...base,
          ...rest,
          wanted: wanted ?? undefined,
          transfer: transfer ?? undefined,
          note: stage === null ? undefined : note(stage, stage === 'restore' ? { point: point() } : {}),
        });
        if (action.do === 'note') return action.epoch >= base.place.epoch;
        if (action.do === 'end') return !action.retained.includes(action.location);
        // nothing is copied or restored while somebody may write
        return (action.do !== 'copy' && action.do !== 'restore') || stage !== 'stop';
      }),
    );
  });
});
