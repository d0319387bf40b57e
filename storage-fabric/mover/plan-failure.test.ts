import { describe, expect, it } from 'vitest';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { planFailure, refusalSince, type Refusal } from './plan-failure.ts';
import { parseResticLine } from './plan-restic.ts';

const full: Refusal = {
  code: ERROR_CODES.STORE_FULL,
  message: 'the object store could not write v/data/ab: no space left on device',
  hint: 'make room in bucket fluvia',
  at: '2026-11-25T05:00:00Z',
};
const ofRestic = new FluviaError(
  ERROR_CODES.HOST_TOOL,
  'restic ended with code 1: unexpected HTTP response (403)',
);

describe('the failure of a transfer', () => {
  it('is what the store said, with the next step, where restic only saw a status', () => {
    expect(planFailure(ofRestic, 'ResticFailed', full)).toEqual({
      ok: false,
      reason: 'StoreFull',
      message: `${full.message}; make room in bucket fluvia`,
    });
  });

  it("is restic's own when the store refused nothing", () => {
    expect(planFailure(ofRestic, 'ResticFailed', undefined)).toMatchObject({ reason: 'ResticFailed' });
    expect(planFailure(ofRestic, 'WrongKey', full)).toMatchObject({ reason: 'WrongKey' });
  });

  it('names what the store answered to the mover itself', () => {
    const refused = new FluviaError(ERROR_CODES.STORE_CREDENTIALS, 'access denied', {
      hint: 'mend the Secret',
    });
    expect(planFailure(refused, undefined, undefined)).toEqual({
      ok: false,
      reason: 'StoreCredentials',
      message: 'access denied; mend the Secret',
    });
    expect(planFailure(new Error('x'.repeat(2000)), undefined, full)).toMatchObject({
      reason: 'TransferFailed',
      message: 'x'.repeat(1000),
    });
  });

  it('has nothing to do with a refusal from before it', () => {
    expect(refusalSince(full, full)).toBeUndefined();
    expect(refusalSince(undefined, full)).toBe(full);
    expect(refusalSince(full, { ...full, at: '2026-11-25T05:00:01Z' })).toMatchObject({ code: full.code });
    // a front that was started anew remembers nothing
    expect(refusalSince(full, undefined)).toBeUndefined();
  });
});

describe("restic's summary", () => {
  it('says what was scanned and what was added as stored', () => {
    const line = JSON.stringify({
      message_type: 'summary',
      snapshot_id: 'ab',
      total_bytes_processed: 10,
      data_added: 8,
      data_added_packed: 4,
    });
    expect(parseResticLine(line)).toEqual({ kind: 'summary', snapshotID: 'ab', bytes: 10, bytesAdded: 4 });
  });
});
