import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isMarker,
  objectKey,
  parseRevocationKey,
  revocationKey,
  tenantPrefix,
  volumePrefix,
} from './keys.ts';

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const VOLUME = 'v0123456789abcdef';

describe('keys of revocations', () => {
  it('say what was written into them', () => {
    const id = fc.option(fc.stringMatching(/^[0-9a-f]{32}$/), { nil: undefined });
    fc.assert(
      fc.property(id, fc.nat(2 ** 45), (one, atMs) => {
        const revocation = one === undefined ? { atMs } : { id: one, atMs };
        expect(parseRevocationKey(revocationKey(TENANT, revocation))).toEqual(revocation);
      }),
    );
  });

  it('are none of a volume, and no other key is one', () => {
    expect(revocationKey(TENANT, { atMs: 1 }).startsWith(tenantPrefix(TENANT))).toBe(true);
    for (const name of ['config', `data/${'ab'.repeat(32)}`, 'all.1.json'])
      expect(parseRevocationKey(`${volumePrefix(TENANT, VOLUME)}${name}`)).toBeUndefined();
    for (const name of ['x.1.json', 'all.json', 'all.-1.json', 'all.1.json.2', `${'a'.repeat(31)}.1.json`])
      expect(parseRevocationKey(`${TENANT}/revoked/${name}`)).toBeUndefined();
  });
});

describe('keys of a volume', () => {
  it('are markers only where they are the epoch', () => {
    const place = { tenant: TENANT, volume: VOLUME };
    expect(isMarker(objectKey({ ...place, target: { kind: 'epoch' } }))).toBe(true);
    expect(isMarker(objectKey({ ...place, target: { kind: 'config' } }))).toBe(false);
    expect(isMarker(objectKey({ ...place, target: { kind: 'commit', epoch: 1, sequence: 1 } }))).toBe(false);
  });
});
