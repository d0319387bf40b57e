import { describe, expect, it } from 'vitest';
import type { VolumeReplica } from '../api/v1alpha1/volume-replica.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../runtime/kube/storage-types.ts';
import { planVolumes, volumeLine, volumeProblems } from './plan-volumes.ts';

const NOW = Date.parse('2026-11-25T03:00:00Z');
const claim = (
  name: string,
  condition?: readonly [status: string, reason: string, message: string],
  storageClassName = 'fluvia',
) => {
  const [status, reason, message] = condition ?? [];
  return {
    metadata: { name, namespace: 'shop' },
    spec: { storageClassName, volumeName: `pv-${name}` },
    status:
      condition === undefined ? {} : { conditions: [{ type: 'fluvia.dev/Volume', status, reason, message }] },
  } as unknown as PersistentVolumeClaim;
};
const volume = (name: string, more: Record<string, string> = {}) =>
  ({
    metadata: { name: `pv-${name}`, annotations: { 'fluvia.dev/location': 'east', ...more } },
    spec: { capacity: { storage: '1Gi' } },
  }) as unknown as PersistentVolume;
const replica = (claimName: string, status: object) =>
  ({
    metadata: { name: 'copies', namespace: 'shop' },
    spec: { claimName },
    status,
  }) as unknown as VolumeReplica;
const point = (peer: string, sequence: number, cutAt: string, salvage = false) => ({
  peer,
  epoch: 1,
  sequence,
  cutAt,
  consistency: 'FilesystemSnapshot',
  salvage,
});

describe('volumes', () => {
  it('say where each is, how old its newest copies are, and nothing of other classes', () => {
    const points = [
      point('west', 1, '2026-11-25T02:00:00Z'),
      point('west', 2, '2026-11-25T02:59:30Z'),
      point('north', 9, '2026-11-25T02:59:59Z', true),
    ];
    const [db, ...others] = planVolumes(
      [claim('db', ['True', 'AtPeer', 'it is at peer east']), claim('local', undefined, 'plain')],
      [volume('db')],
      [replica('db', { points, conditions: [{ type: 'Ready', status: 'True', reason: 'Replicated' }] })],
    );
    expect(others).toEqual([]);
    expect(db && volumeLine(db, NOW)).toBe('at east, 1Gi; copies: west 30s old (FilesystemSnapshot)');
    expect(db && volumeProblems(db)).toEqual([]);
  });

  it.each([
    ['before the first pod', claim('db'), [], 'nowhere yet; no copies', []],
    [
      'on the move',
      claim('db', ['False', 'Moving', 'it is being moved']),
      [
        volume('db', {
          'fluvia.dev/move': JSON.stringify({
            kind: 'planned',
            from: 'east',
            to: 'west',
            stage: 'copy',
            startedAt: 't',
            failures: 0,
          }),
        }),
      ],
      'moving from east to west (copy); no copies',
      [],
    ],
    [
      'at a lost peer',
      claim('db', ['False', 'PeerLost', 'peer east does not answer']),
      [volume('db')],
      'at east, 1Gi; no copies',
      ['volume shop/db: peer east does not answer'],
    ],
  ] as const)('%s', (_, one, volumes, line, problems) => {
    const [info] = planVolumes([one], volumes, []);
    expect(info && volumeLine(info, NOW)).toBe(line);
    expect(info && volumeProblems(info)).toEqual(problems);
  });

  it('tell of copies that fail, not of those that are under way', () => {
    const at = (reason: string) =>
      planVolumes(
        [claim('db')],
        [volume('db')],
        [replica('db', { conditions: [{ type: 'Ready', status: 'False', reason, message: 'why' }] })],
      ).flatMap(volumeProblems);
    expect(at('Copying')).toEqual([]);
    expect(at('CopyFailed')).toEqual(['copies of shop/db (VolumeReplica copies): why']);
  });

  it('count a move as passing until it fails', () => {
    const at = (failures: number) =>
      planVolumes(
        [claim('db', ['False', 'Moving', 'it is being moved from peer east'])],
        [
          volume('db', {
            'fluvia.dev/move': JSON.stringify({
              kind: 'failover',
              from: 'east',
              to: 'west',
              stage: 'restore',
              startedAt: 't',
              failures,
            }),
          }),
        ],
        [],
      ).flatMap(volumeProblems);
    expect(at(0)).toEqual([]);
    expect(at(1)).toEqual(['volume shop/db: it is being moved from peer east']);
  });
});
