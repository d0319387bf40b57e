import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../runtime/clock.fake.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { ApiError, isConflict } from '../../runtime/kube/errors.ts';
import type { ResourceRef } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { volumePlace } from '../volumes/volume-place.fake.ts';
import { createMoveActor, type MovedVolume } from './move-actor.ts';

const ID = 'v0123456789abcdef';
const claim = {
  metadata: {
    name: 'db',
    namespace: 'shop',
    uid: 'u',
    resourceVersion: '3',
    annotations: { 'fluvia.dev/move-to': 'west' },
  },
} as unknown as PersistentVolumeClaim;
const volume = {
  metadata: { name: `fluvia-${ID}`, uid: 'p', resourceVersion: '7' },
} as unknown as PersistentVolume;
const moved: MovedVolume = { id: ID, volume, claim, place: volumePlace() };

/** An actor whose patches are told as `kind: body`; while `isOvertaken` somebody else has written the placeholder. */
const begin = () => {
  const state = { isOvertaken: false };
  const patches: string[] = [];
  const events: string[] = [];
  const patch = async (
    { kind }: ResourceRef,
    _name: string,
    _namespace: string | undefined,
    body: unknown,
  ): Promise<void> => {
    if (kind === 'PersistentVolume' && state.isOvertaken)
      throw new ApiError({ status: 409, reason: 'Conflict', message: 'overtaken' });
    patches.push(`${kind}: ${JSON.stringify(body)}`);
  };
  const deps = {
    client: { patch },
    clock: createFakeClock(),
    events: {
      record: (_object: unknown, { reason, note }: { reason: string; note: string }) =>
        events.push(`${reason}: ${note}`),
    },
  } as unknown as ControllerDeps;
  const transfers = { get: () => undefined, start: () => {}, end: () => {}, isEnding: () => false };
  const actor = createMoveActor(
    { deps, transfers, startTransfer: async () => {}, inWords: (text) => text, usersOf: () => [] },
    new AbortController().signal,
  );
  return { actor, state, patches, events };
};

describe('a refused move', () => {
  const refusal = { do: 'refuse', reason: 'PeerUnreachable', message: 'peer west does not answer' } as const;

  it('is answered on the placeholder before the wish is dropped', async () => {
    const { actor, patches, events } = begin();
    await actor.act(moved, refusal);
    expect(patches.map((one) => one.split(':')[0])).toEqual(['PersistentVolume', 'PersistentVolumeClaim']);
    expect(patches[0]).toContain('does not answer');
    expect(patches[1]).toContain('"fluvia.dev/move-to":null');
    expect(events).toEqual(['PeerUnreachable: not moved: peer west does not answer']);
  });

  it('keeps the wish while the answer could not be written, and answers then', async () => {
    const { actor, state, patches, events } = begin();
    state.isOvertaken = true;
    await expect(actor.act(moved, refusal)).rejects.toSatisfy(isConflict);
    expect(patches).toEqual([]);
    expect(events).toEqual([]);
    state.isOvertaken = false;
    expect(actor.isDropped(claim)).toBe(false);
    await actor.act(moved, refusal);
    expect(patches).toHaveLength(2);
    // the cache shows it for a moment
    expect(actor.isDropped(claim)).toBe(true);
    const again = { ...claim, metadata: { ...claim.metadata, resourceVersion: '9' } };
    expect(actor.isDropped(again)).toBe(false);
  });
});

describe('a move to where the old copy is gone', () => {
  it('forgets that copy with the same write', async () => {
    const { actor, patches, events } = begin();
    const place = volumePlace({ retained: ['north', 'west'], diverged: ['west'] });
    await actor.act(
      { ...moved, place },
      {
        do: 'note',
        epoch: 1,
        forget: 'west',
        note: { kind: 'planned', from: 'east', to: 'west', stage: 'stop', startedAt: 't', failures: 0 },
      },
    );
    expect(patches).toHaveLength(1);
    expect(patches[0]).toContain('"fluvia.dev/retained":"north","fluvia.dev/diverged":null');
    expect(events[0]).toContain('NothingToSalvage');
  });
});
