import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isMade, refusalsOf } from '../../api/unmade-volume.ts';
import { planAnew, whyNotMade, type AnewWorld } from './plan-anew.ts';
import { NODE_REFUSED, type VolumeStatusItem } from './volume-items.ts';
import type { VolumePlace } from './volume-place.ts';
import { volumePlace } from './volume-place.fake.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const place = (more: Partial<VolumePlace> = {}): VolumePlace => volumePlace({ isMade: false, ...more });
const NO_CLASS: VolumeStatusItem = {
  uid: 'u',
  phase: 'Failed',
  reason: 'NoStorageClass',
  message: 'no default StorageClass',
};
const world = (more: Partial<AnewWorld> = {}): AnewWorld => ({
  now: NOW,
  place: place(),
  isMoving: false,
  told: NO_CLASS,
  toldThere: undefined,
  failingMs: 60_000,
  isPlace: true,
  wanted: 'east',
  users: 1,
  isOffered: true,
  ...more,
});
const refusal = { at: '2026-11-25T11:58:00.000Z', message: 'no default StorageClass' };
const refused = { east: refusal };

describe('a place that can not make a volume', () => {
  it.each<[string, VolumeStatusItem | undefined, boolean]>([
    ['has no class', NO_CLASS, true],
    ['has a provisioner that fails', { uid: 'u', phase: 'Pending', reason: 'ProvisioningFailed' }, true],
    ['has no node for it', { uid: 'u', phase: 'Pending', reason: NODE_REFUSED }, true],
    ['has another claim of its name', { uid: 'u', phase: 'Failed', reason: 'Conflict' }, true],
    ['is at it', { uid: 'u', phase: 'Pending' }, false],
    ['has no twin yet', { uid: 'u', phase: 'Pending', reason: 'NoTwin' }, false],
    ['is deleting an older claim', { uid: 'u', phase: 'Failed', reason: 'Terminating' }, false],
    ['had it and lost it', { uid: 'u', phase: 'Failed', reason: 'Lost' }, false],
    ['made it', { uid: 'u', phase: 'Bound' }, false],
    ['is silent', undefined, false],
  ])('%s', (_, told, fails) => expect(whyNotMade(told) !== undefined).toBe(fails));

  it('is given time, and then noted', () => {
    expect(planAnew(world({ failingMs: 4000 }))).toEqual({ do: 'wait', afterMs: 6000 });
    const told: VolumeStatusItem = { uid: 'u', phase: 'Pending', reason: 'ProvisioningFailed' };
    expect(planAnew(world({ told, failingMs: 10_000 }))).toEqual({ do: 'wait', afterMs: 20_000 });
    const step = planAnew(world({ failingMs: 10_000 }));
    if (step.do !== 'annotate') throw new Error(step.do);
    const noted = refusalsOf(step.annotations as Record<string, string>);
    expect(noted).toEqual({ east: { at: '2026-11-25T12:00:00.000Z', message: 'no default StorageClass' } });
    expect(planAnew(world({ place: place({ refused: noted }) }))).toEqual({ do: 'nothing' });
  });

  it('is not judged by what it said to an earlier pod', () => {
    expect(planAnew(world({ users: 0 }))).toEqual({ do: 'nothing' });
  });

  it('is told apart again once it can', () => {
    const told: VolumeStatusItem = { uid: 'u', phase: 'Pending', state: 'active' };
    expect(planAnew(world({ told, place: place({ refused }) }))).toEqual({
      do: 'annotate',
      annotations: { 'fluvia.dev/refused': null },
    });
    // neither silence nor a claim that doesn't stand yet says so
    for (const other of [undefined, { uid: 'u', phase: 'Pending' } as const])
      expect(planAnew(world({ told: other, place: place({ refused }) }))).toEqual({ do: 'nothing' });
  });
});

describe('a volume that is wanted elsewhere', () => {
  it('waits for the pods that are bound where it is to be', () => {
    expect(planAnew(world({ wanted: 'west', place: place({ refused }) }))).toEqual({ do: 'nothing' });
    // what their place says of it is noted all the same, or nobody would let them go
    expect(JSON.stringify(planAnew(world({ wanted: 'west' })))).toContain('fluvia.dev/refused');
    expect(planAnew(world({ wanted: 'west', users: 0 }))).toEqual({
      do: 'annotate',
      annotations: { 'fluvia.dev/anew': 'west' },
    });
  });

  it('stays where it is once it was made, and where it moves', () => {
    for (const more of [
      { place: place({ isMade: true }) },
      { isMoving: true },
      { told: { uid: 'u', phase: 'Bound' } as const },
      { told: { uid: 'u', phase: 'Failed', reason: 'Lost' } as const },
    ])
      expect(planAnew(world({ wanted: 'west', users: 0, ...more }))).toEqual({ do: 'nothing' });
  });

  const leaving = (more: Partial<AnewWorld> = {}): AnewWorld =>
    world({
      place: place({ anew: 'west', refused, isUsable: false }),
      wanted: 'west',
      users: 0,
      isOffered: false,
      told: { uid: 'u', phase: 'Gone', state: 'retained' },
      ...more,
    });

  it('leaves on the word of its place, of after the last pod', () => {
    expect(planAnew(leaving())).toEqual({
      do: 'annotate',
      annotations: { 'fluvia.dev/location': 'west', 'fluvia.dev/anew': null, 'fluvia.dev/loss': null },
    });
    const waits: Partial<AnewWorld>[] = [
      { users: 1 },
      { isOffered: true },
      { told: undefined },
      { told: { uid: 'u', phase: 'Gone' } },
      { told: { uid: 'u', phase: 'Pending', state: 'active' } },
      { told: { uid: 'u', phase: 'Failed', reason: 'Terminating' } },
      // of when it left there: the next leave must not take that word for its own
      { toldThere: { uid: 'u', phase: 'Gone', state: 'retained' } },
    ];
    for (const more of waits)
      expect(planAnew(leaving(more)), JSON.stringify(more)).toMatchObject({ do: 'wait' });
    expect(planAnew(leaving({ told: undefined, isPlace: false }))).toMatchObject({ do: 'annotate' });
  });

  it('stays when its place made it after all', () => {
    for (const told of [
      { uid: 'u', phase: 'Bound', state: 'retained' },
      { uid: 'u', phase: 'Failed', reason: 'Lost' },
    ] as const)
      expect(planAnew(leaving({ told }))).toEqual({
        do: 'annotate',
        annotations: { 'fluvia.dev/anew': null },
      });
    expect(
      planAnew(leaving({ place: place({ anew: 'west', isMade: true, isUsable: false }) })),
    ).toMatchObject({
      annotations: { 'fluvia.dev/anew': null },
    });
  });
});

/**
 * Home, a peer that may or may not make the volume at any moment, pods that may write as soon as it is made, and words that
 * arrive late but in order: whatever the interleaving, a volume that was written to never leaves its place.
 */
it('never leaves a place where something was written', () => {
  const event = fc.constantFrom('home', 'peer', 'deliver', 'make', 'write', 'bind', 'unbind');
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      let annotations: Record<string, string> = {
        'fluvia.dev/location': 'east',
        'fluvia.dev/epoch': '1',
        'fluvia.dev/refused': JSON.stringify(refused),
      };
      let pods = 1;
      let isBound = false;
      let isWritten = false;
      let claimState: 'active' | 'retained' = 'active';
      let wantedState: 'active' | 'retained' = 'active';
      const words: VolumeStatusItem[] = [];
      let told: VolumeStatusItem | undefined = NO_CLASS;
      const isLeaving = (): boolean => annotations['fluvia.dev/anew'] !== undefined;
      for (const one of events) {
        if (annotations['fluvia.dev/location'] !== 'east') break;
        if (one === 'home') {
          wantedState = isLeaving() ? 'retained' : 'active';
          if (told?.phase === 'Bound') annotations['fluvia.dev/made'] = 'true';
          const step = planAnew(
            world({
              place: place({
                anew: annotations['fluvia.dev/anew'],
                isMade: isMade(annotations),
                refused: refusalsOf(annotations),
              }),
              told,
              wanted: 'west',
              users: pods,
              isOffered: !isLeaving(),
            }),
          );
          if (step.do === 'annotate')
            annotations = Object.fromEntries(
              Object.entries({ ...annotations, ...step.annotations }).filter(
                (entry): entry is [string, string] => entry[1] !== null,
              ),
            );
        }
        if (one === 'peer') {
          claimState = wantedState;
          words.push({ uid: 'u', phase: isBound ? 'Bound' : 'Pending', state: claimState });
        }
        if (one === 'deliver') told = words.shift() ?? told;
        // A provisioner asks nobody.
        if (one === 'make') isBound = true;
        if (one === 'write' && isBound && pods > 0) isWritten = true;
        // A pod's coming and going is known at home before it begins over there, and after it ended.
        if (one === 'bind' && !isLeaving() && claimState === 'active') pods = 1;
        if (one === 'unbind') pods = 0;
      }
      expect(isWritten && annotations['fluvia.dev/location'] !== 'east').toBe(false);
    }),
    { numRuns: 3000 },
  );
});
