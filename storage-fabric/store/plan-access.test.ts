import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../api/errors.ts';
import { objectKey } from './keys.ts';
import { BLOB_TYPES, decideAccess, parsePath, type Holder, type Place } from './plan-access.ts';

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const VOLUME = 'v0123456789abcdef';
const NAME = 'ab'.repeat(32);
const place = (path: string): Place => {
  const found = parsePath(path);
  if (found === undefined) throw new Error(`${path} names nothing`);
  return found;
};
const at = (rest: string): Place => place(`/${TENANT}/${VOLUME}/${rest}`);
const holder = (kind: Holder['kind'], epoch = 3): Holder => ({ tenant: TENANT, volume: VOLUME, kind, epoch });
const outcome = (method: string, where: Place, who: Holder, epoch = 3): string => {
  const decision = decideAccess(method, where, who, epoch);
  return decision.allowed ? decision.action : `${decision.status} ${decision.code}`;
};
const FORBIDDEN = `403 ${ERROR_CODES.FORBIDDEN}`;
const STALE = `403 ${ERROR_CODES.STALE_EPOCH}`;

describe('paths of the store', () => {
  it.each([
    '',
    '/',
    `/${TENANT}`,
    `/${TENANT}/${VOLUME}`,
    `//${TENANT}/${VOLUME}/config`,
    `/${TENANT}/${VOLUME}/../${VOLUME}/config`,
    `/${TENANT}/${VOLUME}/data/../config`,
    `/${TENANT}/${VOLUME}/data//${NAME}`,
    `/${TENANT}/${VOLUME}/data/${NAME}/x`,
    `/${TENANT}/${VOLUME}/data/${NAME.toUpperCase()}`,
    `/${TENANT}/${VOLUME}/data/%2e%2e`,
    `/${TENANT}/${VOLUME}/config\u0000`,
    `/${TENANT}/${VOLUME}/config\n`,
    `/${TENANT}/${VOLUME}/__proto__`,
    `/${TENANT}/${VOLUME}/constructor`,
    `/${TENANT}/${VOLUME}/fluvia/epoch.json`,
    `/${TENANT}/${VOLUME}/fluvia/commits/01-2.json`,
    `/${TENANT}/${VOLUME}/fluvia/commits/1-2.json/`,
    `/${TENANT}/-/config`,
    `/${TENANT}/revoked/${NAME}.json`,
  ])('takes %j for nothing', (path) => {
    expect(parsePath(path)).toBeUndefined();
  });

  it('never leads out of the tenant and volume that it names, whatever is sent', () => {
    const segment = fc.oneof(
      fc.constantFrom(
        '..',
        '.',
        '',
        '%2e%2e',
        'data',
        'config',
        'fluvia',
        'commits',
        'epoch',
        NAME,
        VOLUME,
        TENANT,
        '-',
      ),
      fc.string({ maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 7 }), fc.boolean(), (parts, isRooted) => {
        const path = isRooted ? `/${TENANT}/${VOLUME}/${parts.join('/')}` : `/${parts.join('/')}`;
        const found = parsePath(path);
        fc.pre(found !== undefined);
        const key = objectKey(found);
        expect(key.split('/').some((part) => part === '..' || part === '.')).toBe(false);
        expect(key).not.toContain('//');
        const isToken = found.target.kind === 'token' || found.target.kind === 'tokens';
        expect(
          key.startsWith(isToken ? `${found.tenant}/revoked/` : `${found.tenant}/${found.volume}/`),
        ).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it('lays out a repository as restic itself does', () => {
    expect(objectKey(at(`data/${NAME}`))).toBe(`${TENANT}/${VOLUME}/data/ab/${NAME}`);
    expect(objectKey(at(`index/${NAME}`))).toBe(`${TENANT}/${VOLUME}/index/${NAME}`);
    expect(objectKey(at('config'))).toBe(`${TENANT}/${VOLUME}/config`);
  });
});

describe('access to the store', () => {
  it.each([
    ['append', 'POST', `data/${NAME}`, 'write'],
    ['append', 'POST', `snapshots/${NAME}`, 'write'],
    ['append', 'DELETE', `locks/${NAME}`, 'delete'],
    ['append', 'DELETE', `data/${NAME}`, FORBIDDEN],
    ['append', 'DELETE', `index/${NAME}`, FORBIDDEN],
    ['append', 'DELETE', `snapshots/${NAME}`, FORBIDDEN],
    ['append', 'DELETE', `keys/${NAME}`, FORBIDDEN],
    ['append', 'DELETE', 'fluvia/commits/3-1.json', FORBIDDEN],
    ['append', 'PUT', 'fluvia/commits/3-1.json', 'write'],
    ['append', 'PUT', 'fluvia/commits/2-1.json', STALE],
    ['append', 'PUT', 'fluvia/commits/4-1.json', STALE],
    ['maintain', 'DELETE', `data/${NAME}`, 'delete'],
    ['maintain', 'DELETE', 'fluvia/commits/1-1.json', 'delete'],
    ['maintain', 'PUT', 'fluvia/commits/3-1.json', FORBIDDEN],
    ['read', 'GET', `data/${NAME}`, 'read'],
    ['read', 'HEAD', 'config', 'read'],
    ['read', 'POST', `locks/${NAME}`, FORBIDDEN],
    ['read', 'DELETE', `locks/${NAME}`, FORBIDDEN],
    ['read', 'POST', '', FORBIDDEN],
    ['append', 'POST', '', 'create'],
    ['append', 'DELETE', 'config', `405 ${ERROR_CODES.BAD_INPUT}`],
    ['append', 'PUT', `data/${NAME}`, `405 ${ERROR_CODES.BAD_INPUT}`],
    ['append', 'DELETE', '', `405 ${ERROR_CODES.BAD_INPUT}`],
    ['control', 'GET', 'config', FORBIDDEN],
  ] as const)('%s: %s %s → %s', (kind, method, rest, wanted) => {
    expect(outcome(method, at(rest), holder(kind))).toBe(wanted);
  });

  it.each([`/${TENANT}/-/fluvia/tokens/${'0'.repeat(32)}`, `/${TENANT}/-/fluvia/tokens/`])(
    'lets nobody revoke %s but the leader',
    (path) => {
      const token = place(path);
      expect(outcome('DELETE', token, { ...holder('control'), volume: '-' })).toBe('revoke');
      expect(outcome('DELETE', token, holder('maintain'))).toBe(FORBIDDEN);
      expect(outcome('DELETE', token, { ...holder('control'), volume: '-', tenant: 'b'.repeat(26) })).toBe(
        FORBIDDEN,
      );
    },
  );

  const methods = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS');
  const targets = fc.oneof(
    fc.constantFrom(
      '',
      'config',
      'fluvia/epoch',
      'fluvia/usage',
      'fluvia/commits/',
      'fluvia/commits/3-1.json',
    ),
    fc.constantFrom(...BLOB_TYPES).map((type) => `${type}/${NAME}`),
    fc.constantFrom(...BLOB_TYPES).map((type) => `${type}/`),
  );
  const kinds = fc.constantFrom('append', 'maintain', 'read', 'control' as const);

  it('opens nothing to a token of another volume, another tenant or a lower epoch', () => {
    fc.assert(
      fc.property(methods, targets, kinds, fc.nat(5), fc.nat(5), (method, rest, kind, own, current) => {
        const who = holder(kind, own);
        const isAllowed = decideAccess(method, at(rest), who, current).allowed;
        expect(isAllowed && own < current).toBe(false);
        const other = { ...who, volume: 'v0000000000000000' };
        expect(decideAccess(method, at(rest), other, 0).allowed).toBe(false);
        expect(decideAccess(method, at(rest), { ...who, tenant: 'z'.repeat(26) }, 0).allowed).toBe(false);
      }),
    );
  });

  it('deletes by append nothing but locks, and changes nothing by read', () => {
    fc.assert(
      fc.property(methods, targets, (method, rest) => {
        const append = decideAccess(method, at(rest), holder('append'), 3);
        const deletes = append.allowed && append.action === 'delete';
        expect(!deletes || rest.startsWith('locks/')).toBe(true);
        const read = decideAccess(method, at(rest), holder('read'), 3);
        expect(!read.allowed || ['read', 'raise'].includes(read.action)).toBe(true);
      }),
    );
  });
});
