import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { bytesToMove, dataBytes, placedVolumes, whyDataElsewhere, type PlacedVolume } from './plan-data.ts';

const GIB = 2 ** 30;
const point = (peer: string, sequence: number, bytesSent: number, more: Partial<RecoveryPoint> = {}) => ({
  peer,
  epoch: 1,
  sequence,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot' as const,
  cutAt: '2026-11-25T03:00:00Z',
  bytesScanned: 2 * GIB,
  bytesSent,
  ...more,
});
const at = (location: string, points: readonly RecoveryPoint[] = []): PlacedVolume => ({
  claim: 'db',
  location,
  isMade: true,
  sizeBytes: 2 * GIB,
  points,
});

describe('bytes to move', () => {
  it.each([
    ['nothing where it is', at('east', [point('east', 1, 5)]), 'east', 0],
    ['all of it where no copy is', at('east', [point('west', 1, 5)]), 'north', 2 * GIB],
    ['nothing known beyond a first copy', at('east', [point('west', 1, 2 * GIB)]), 'west', 0],
    ['as much as the last delta', at('east', [point('west', 1, 2 * GIB), point('west', 2, 70)]), 'west', 70],
    [
      'what newer copies elsewhere sent, too',
      at('east', [point('west', 1, 9), point('west', 2, 70), point('north', 3, 11), point('north', 4, 13)]),
      'west',
      94,
    ],
    [
      'never more than all of it',
      at('east', [point('west', 1, 1), point('north', 2, 9 * GIB)]),
      'west',
      2 * GIB,
    ],
    [
      'a higher epoch is newer, whatever its sequence',
      at('east', [point('west', 9, 9), point('north', 1, 4, { epoch: 2 })]),
      'west',
      4,
    ],
  ])('%s', (_, volume, place, bytes) => {
    expect(bytesToMove(volume, place)).toBe(bytes);
  });

  it('are never less without a copy than with it, none at its place, and add up', () => {
    const peers = ['east', 'west', 'north'];
    const points = fc.array(
      fc
        .tuple(
          fc.constantFrom(...peers),
          fc.integer({ min: 1, max: 20 }),
          fc.integer({ min: 0, max: 4 * GIB }),
        )
        .map(([peer, sequence, sent]) => point(peer, sequence, sent)),
      { maxLength: 12 },
    );
    const volumes = fc.array(
      fc.tuple(fc.constantFrom(...peers), points).map(([location, list]) => at(location, list)),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(volumes, fc.constantFrom(...peers), (all, place) => {
        const sum = dataBytes(all, peers).get(place) ?? -1;
        expect(sum).toBe(all.reduce((total, one) => total + bytesToMove(one, place), 0));
        for (const one of all) {
          const bytes = bytesToMove(one, place);
          expect(bytes).toBeGreaterThanOrEqual(0);
          expect(bytes).toBeLessThanOrEqual(bytesToMove({ ...one, points: [] }, place));
          expect(one.location !== place || bytes === 0).toBe(true);
        }
        expect(whyDataElsewhere(all, place, 'shop') === undefined).toBe(
          all.every(({ location }) => location === place),
        );
      }),
    );
  });

  it('take the size of the last copy, else what was asked for; salvage is no copy', () => {
    const claim = (storageClassName: string, volumeName?: string) =>
      ({ spec: { storageClassName, volumeName } }) as PersistentVolumeClaim;
    const volumeWith = (more: Record<string, string>) => ({
      metadata: {
        name: 'fluvia-v',
        annotations: { 'fluvia.dev/location': 'east', 'fluvia.dev/epoch': '1', ...more },
      },
      spec: { capacity: { storage: '10Gi' } },
    });
    const spec = {
      containers: [],
      volumes: ['db', 'new', 'local'].map((claimName) => ({
        name: claimName,
        persistentVolumeClaim: { claimName },
      })),
    };
    const claims: Record<string, PersistentVolumeClaim> = {
      db: claim('fluvia', 'fluvia-v'),
      new: claim('fluvia'),
      local: claim('plain', 'fluvia-v'),
    };
    const look = (
      points: readonly RecoveryPoint[],
      more: Record<string, string> = { 'fluvia.dev/made': 'true' },
    ) =>
      placedVolumes(spec, {
        claim: (name) => claims[name],
        volume: (name) =>
          name === 'fluvia-v' ? (volumeWith(more) as unknown as PersistentVolume) : undefined,
        replicas: () => [{ status: { points } } as unknown as VolumeReplica],
      });
    expect(look([])).toEqual([
      { claim: 'db', location: 'east', isMade: true, sizeBytes: 10 * GIB, points: [] },
    ]);
    const tail = point('west', 9, 1, { salvage: true, bytesScanned: 7 });
    const copy = point('west', 3, 1);
    expect(look([tail, copy])).toEqual([
      { claim: 'db', location: 'east', isMade: true, sizeBytes: 2 * GIB, points: [copy] },
    ]);
    expect(whyDataElsewhere(look([]), 'west', 'shop')).toBe(
      'the volume of claim db is at east, 10 GiB to move: fluviactl move volume db -n shop --to west',
    );
    expect(look([], {})).toEqual([
      { claim: 'db', location: 'east', isMade: false, sizeBytes: 0, points: [] },
    ]);
    expect(whyDataElsewhere(look([], {}), 'west', 'shop')).toBe(
      'the volume of claim db is to be made at east',
    );
  });
});
