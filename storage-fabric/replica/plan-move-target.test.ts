import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import { volumePlace } from '../volumes/volume-place.fake.ts';
import type { MoveNote } from './move-note.ts';
import { moveText, planMove, type MoveAction, type MoveWorld } from './plan-move.ts';
import type { Target } from './plan-target.ts';

/** Moves whose target dies, or can't be filled, and moves that a person takes back. */
const NOW = Date.parse('2026-11-25T03:00:00Z');
const up: Target = { isUp: true, hasStore: true };
const lost: Target = { isUp: false, isLost: true, hasStore: true };
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
  place: volumePlace({ epoch: 2, isUsable: false }),
  wanted: undefined,
  users: 0,
  isOffered: false,
  bareUser: undefined,
  waiting: 1,
  points: [point()],
  allowBestEffort: false,
  maxAgeSeconds: undefined,
  targets: new Map([
    ['east', up],
    ['west', up],
    ['north', up],
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
  ...(stage === 'restore' ? { point: point() } : {}),
  ...more,
});
const withTarget = (target: Target | undefined): Pick<MoveWorld, 'targets'> => {
  const targets = new Map(base.targets);
  if (target === undefined) targets.delete('west');
  else targets.set('west', target);
  return { targets };
};
const STAGES = ['salvage', 'stop', 'copy', 'restore'] as const;
const done = { state: 'done', point: point() } as const;

describe('a planned move whose target is lost or no peer any more', () => {
  it.each(STAGES)(
    'ends in stage %s: the volume stays where it is whole, and its pods start again',
    (stage) => {
      for (const target of [lost, undefined])
        for (const transfer of [
          undefined,
          { state: 'running' },
          done,
          { state: 'failed', message: 'x' },
        ] as const)
          expect(planMove({ ...base, ...withTarget(target), transfer, note: note(stage) })).toMatchObject({
            do: 'end',
            location: 'east',
            end: { ok: false, message: expect.stringContaining('it stays at east, nothing is lost') },
          });
    },
  );

  it('goes on while nobody knows', () => {
    const hiccup = { ...lost, isLost: false, isUnsure: true };
    expect(planMove({ ...base, ...withTarget(hiccup), note: note('restore') })).toMatchObject({
      do: 'restore',
    });
  });

  it('waits for it where the only whole volume may be there', () => {
    const restoring = { ...base, ...withTarget(lost), note: note('restore') };
    expect(planMove({ ...restoring, isSourceLost: true }).do).toBe('restore');
    expect(planMove({ ...restoring, isDataLost: true }).do).toBe('restore');
    const failed = { state: 'failed', message: 'PeerLost' } as const;
    const often = { ...restoring, note: note('restore', { failures: 40 }), transfer: failed };
    expect(planMove({ ...often, isSourceLost: true })).toMatchObject({ do: 'note', note: { failures: 41 } });
  });

  it('ends before the restore whatever became of the source, so that a failover may begin', () => {
    for (const stage of ['salvage', 'stop', 'copy'] as const) {
      const lostToo = { ...base, ...withTarget(lost), note: note(stage), isDataLost: true };
      expect(planMove(lostToo)).toMatchObject({ do: 'end', end: { ok: false } });
      const failed = { state: 'failed', message: 'NoVolume' } as const;
      if (stage === 'stop') continue;
      const often = { ...base, isDataLost: true, note: note(stage, { failures: 4 }), transfer: failed };
      expect(planMove(often)).toMatchObject({
        end: { ok: false, message: 'NoVolume; the volume stays at east' },
      });
    }
  });

  it('does not keep its tail twice: it was kept before the pods stopped', () => {
    const place = { ...base.place, retained: ['west'], diverged: ['west', 'north'] };
    const at = (stage: MoveNote['stage']) =>
      planMove({ ...base, ...withTarget(lost), place, note: note(stage) });
    expect(at('salvage')).toMatchObject({ diverged: ['west', 'north'], retained: ['west'] });
    expect(at('stop')).toMatchObject({ diverged: ['north'], retained: ['west'] });
  });
});

describe('a failover whose target fails', () => {
  const failing = (failures: number, more: Partial<MoveWorld> = {}): MoveAction =>
    planMove({
      ...base,
      isSourceLost: true,
      points: [point(), point({ peer: 'north', sequence: 2 })],
      note: note('restore', { kind: 'failover', isLost: true, failures, message: 'NotStarted: no node' }),
      ...more,
    });

  it('is tried five times, then goes on from a copy elsewhere, which has tries of its own', () => {
    expect(failing(4)).toMatchObject({ do: 'restore', to: 'west' });
    const away = failing(5);
    expect(away).toMatchObject({
      do: 'note',
      epoch: 2,
      note: { kind: 'failover', from: 'east', to: 'north', stage: 'restore', failures: 0, isLost: true },
    });
    if (away.do !== 'note') throw new Error(away.do);
    expect(away.note).toMatchObject({ point: { peer: 'north', sequence: 2 } });
    expect(away.note.message).toBeUndefined();
  });

  it('chooses once stores have told what they hold, by the rules of any failover', () => {
    expect(failing(5, { isAsking: true })).toMatchObject({ do: 'wait' });
    expect(failing(5, { maxAgeSeconds: 10 })).toMatchObject({ do: 'restore', to: 'west' });
    expect(failing(5, { points: [point()] })).toMatchObject({ do: 'restore', to: 'west' });
  });

  it('does not wait for one that is no peer any more', () => {
    expect(failing(1, withTarget(lost))).toMatchObject({ do: 'restore', to: 'west' });
    expect(failing(1, withTarget(undefined))).toMatchObject({ do: 'note', note: { to: 'north' } });
  });

  it('ends where the volume came from once that peer is back with it: nobody has written elsewhere', () => {
    const back = { isSourceLost: false, isSourceWhole: true };
    const end = {
      do: 'end',
      location: 'east',
      end: {
        ok: false,
        message: 'NotStarted: no node; peer east is back with the volume, which stays there: nothing is lost',
      },
    };
    expect(failing(5, back)).toMatchObject(end);
    expect(failing(1, { ...back, ...withTarget(lost) })).toMatchObject(end);
    // it answers, but what it has is not known
    expect(failing(5, { ...back, isSourceWhole: false })).toMatchObject({ note: { to: 'north' } });
    // one that goes well is not stopped for that
    expect(failing(0, back)).toMatchObject({ do: 'restore' });
  });
});

describe('a move that a person takes back', () => {
  it.each(STAGES)('in stage %s: noted first, so that it holds whatever is killed, then ended', (stage) => {
    const world = { ...base, note: note(stage), wanted: 'east' };
    const action = planMove(world);
    expect(planMove({ ...world, wanted: '@abort' })).toEqual(action);
    expect(action).toMatchObject({ do: 'note', epoch: 2, note: { stage, isTakenBack: true } });
    if (action.do !== 'note') throw new Error(action.do);
    for (const wanted of ['east', 'west', undefined])
      expect(planMove({ ...world, wanted, note: action.note, transfer: done })).toMatchObject({
        do: 'end',
        location: 'east',
        end: { ok: false, message: 'taken back by a person; the volume stays at east' },
      });
  });

  it('has ended already: nothing is moved back', () => {
    const place = { ...base.place, location: 'west', isUsable: true };
    expect(planMove({ ...base, place, wanted: '@abort' })).toMatchObject({ do: 'drop', reason: 'NotMoving' });
  });

  it('is not taken back where the volume is no more', () => {
    const gone = { ...base, wanted: 'east', note: note('restore') };
    expect(planMove({ ...gone, isDataLost: true })).toMatchObject({ do: 'drop' });
    const failover = { ...gone, note: note('restore', { kind: 'failover' }) };
    expect(planMove(failover)).toMatchObject({ do: 'drop', reason: 'MoveUnderWay' });
    expect(planMove({ ...failover, isSourceWhole: true })).toMatchObject({ note: { isTakenBack: true } });
  });
});

describe('any move under way', () => {
  it('ends only at a filled target that answers, or where the volume was; epochs never fall', () => {
    const world = fc.record({
      stage: fc.constantFrom(...STAGES),
      kind: fc.constantFrom('planned' as const, 'failover' as const),
      failures: fc.integer({ min: 0, max: 7 }),
      wanted: fc.option(fc.constantFrom('east', 'west', 'north'), { nil: undefined }),
      users: fc.integer({ min: 0, max: 1 }),
      target: fc.constantFrom(up, lost, undefined),
      transfer: fc.constantFrom(
        undefined,
        { state: 'running' } as const,
        { state: 'failed', message: 'x' } as const,
        done,
      ),
      source: fc.constantFrom('lost', 'gone', 'whole', 'there'),
      isAsking: fc.boolean(),
      isBusy: fc.boolean(),
    });
    fc.assert(
      fc.property(world, ({ stage, kind, failures, target, source, ...rest }) => {
        const step = kind === 'failover' ? 'restore' : stage;
        const action = planMove({
          ...base,
          ...rest,
          ...withTarget(target),
          points: [point(), point({ peer: 'north' })],
          isSourceLost: source === 'lost',
          isDataLost: source === 'gone',
          isSourceWhole: source === 'whole',
          note: note(step, { kind, failures }),
        });
        if (action.do === 'note')
          return (
            action.epoch >= 2 &&
            (action.note.stage !== 'restore' || step === 'restore' || rest.transfer === done)
          );
        if (action.do === 'copy') return rest.users === 0;
        if (action.do !== 'end') return true;
        if (action.end.ok)
          return (
            action.location === 'west' &&
            step === 'restore' &&
            rest.transfer === done &&
            (kind === 'failover' || source === 'lost' || source === 'gone' || target === up)
          );
        // What is nowhere else is never given up for what is not there.
        const isThere = kind === 'failover' ? source === 'whole' : step !== 'restore' || source !== 'gone';
        return action.location === 'east' && isThere;
      }),
    );
  });
});

describe('a move in words', () => {
  it('tells what went wrong', () => {
    expect(moveText(note('copy'))).toBe('the volume is being moved from east to west (copy)');
    expect(moveText(note('restore', { failures: 2, message: 'NotStarted: no node' }))).toBe(
      'the volume is being moved from east to west (restore); it failed and is tried again: NotStarted: no node',
    );
  });
});
