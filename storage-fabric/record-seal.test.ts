import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { CommitRecord } from '../api/commit-record.ts';
import { isSealed, recordSeal } from './record-seal.ts';

const RECORD = {
  volume: 'v0123456789abcdef',
  epoch: 2,
  sequence: 7,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: '2026-11-25T03:00:00Z',
  bytesScanned: 10,
  bytesSent: 3,
} as const satisfies CommitRecord;
const KEY = 'a key of home for this volume';

describe('the seal of a commit record', () => {
  const sealed: CommitRecord = { ...RECORD, seal: recordSeal(KEY, RECORD) };

  it('holds for what was sealed, also once JSON carried it', () => {
    expect(isSealed(KEY, sealed)).toBe(true);
    expect(isSealed(KEY, JSON.parse(JSON.stringify(sealed)) as CommitRecord)).toBe(true);
    expect(isSealed(`${KEY}\n`, sealed)).toBe(true);
  });

  it('holds for no other record, volume or key, and not when there is none', () => {
    expect(isSealed(KEY, RECORD)).toBe(false);
    expect(isSealed('another key', sealed)).toBe(false);
    const changes: Partial<CommitRecord>[] = [
      { volume: 'vfedcba9876543210' },
      { epoch: 3 },
      { sequence: 8 },
      { snapshotID: 'c'.repeat(64) },
      { treeHash: 'c'.repeat(64) },
      { consistency: 'Stopped' },
      { cutAt: '2026-11-25T03:00:01Z' },
      { bytesScanned: 0 },
      { bytesSent: 0 },
      { salvage: true },
    ];
    fc.assert(
      fc.property(fc.subarray(changes, { minLength: 1 }), (some) => {
        expect(isSealed(KEY, Object.assign({}, sealed, ...some) as CommitRecord)).toBe(false);
      }),
    );
  });
});
