import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../api/errors.ts';
import { parseAuthorization, parseRange } from './http-headers.ts';
import { explainS3Error } from './plan-s3-error.ts';
import { chooseFront, planStoreItem, type FrontPod } from './plan-store.ts';
import { planToken, type Answered, type TokenRequest } from './plan-token.ts';
import { controlToken, signToken, tokenId, verifyToken, type TokenClaims } from './tokens.ts';
import { verifiedBody } from './verified-body.ts';

const key = randomBytes(32);
const now = new Date('2026-11-25T03:00:00Z');
const claims: TokenClaims = {
  tenant: 'abcdefghijklmnopqrstuvwxyz',
  volume: 'v0123456789abcdef',
  kind: 'append',
  epoch: 7,
  expires: now.getTime() / 1000 + 60,
  issued: now.getTime(),
  id: 'a'.repeat(32),
};

describe('tokens', () => {
  it('say what was signed until they expire', () => {
    const token = signToken(key, claims);
    expect(token.length).toBeLessThanOrEqual(512);
    expect(verifyToken(key, token, now)).toEqual(claims);
    expect(verifyToken(key, token, new Date(now.getTime() + 60_000))).toBeUndefined();
    expect(verifyToken(randomBytes(32), token, now)).toBeUndefined();
    expect(verifyToken(key, controlToken(key, claims.tenant, now), now)?.kind).toBe('control');
  });

  it('are worth nothing once any character is another, and never throw', () => {
    const token = signToken(key, claims);
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (index, char) => {
        fc.pre(token[index] !== char);
        const changed = token.slice(0, index) + char + token.slice(index + 1);
        // the last character of base64 holds spare bits: another one may mean the same bytes
        const isSame =
          index === token.length - 1 &&
          Buffer.from(changed.split('.')[2] ?? '', 'base64url').equals(
            Buffer.from(token.split('.')[2] ?? '', 'base64url'),
          );
        expect(verifyToken(key, changed, now)).toEqual(isSame ? claims : undefined);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => verifyToken(key, text, now) === undefined));
  });

  it('have the same ID for the same request and attempt only', () => {
    expect(tokenId(key, 't', 'r', 0)).toBe(tokenId(key, 't', 'r', 0));
    expect(
      new Set([tokenId(key, 't', 'r', 0), tokenId(key, 't', 'r', 1), tokenId(key, 'u', 'r', 0)]).size,
    ).toBe(3);
  });
});

describe('a verified body', () => {
  const passing = async (body: Buffer, size: number, sha256: string): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    const parts = Array.from({ length: Math.ceil(body.length / 100) }, (_, n) =>
      body.subarray(n * 100, n * 100 + 100),
    );
    const verified = verifiedBody({ size, sha256 });
    verified.on('data', (chunk: Buffer) => chunks.push(chunk));
    await pipeline(Readable.from(parts), verified).catch(() => chunks.push(Buffer.from('!')));
    return Buffer.concat(chunks);
  };
  const hash = (body: Buffer): string => createHash('sha256').update(body).digest('hex');

  it('passes on what is right, whatever its length', async () => {
    for (const length of [0, 1, 100, 101, 1000]) {
      const body = randomBytes(length);
      const verified = verifiedBody({ size: length, sha256: hash(body) });
      expect(await buffer(Readable.from([body]).pipe(verified))).toEqual(body);
    }
  });

  it('never yields all bytes of one that is cut short, too long or altered', async () => {
    const body = randomBytes(1000);
    const outcomes = [
      await passing(body.subarray(0, 900), 1000, hash(body)),
      await passing(Buffer.concat([body, Buffer.from('x')]), 1000, hash(body)),
      await passing(Buffer.concat([body.subarray(0, 999), Buffer.from('x')]), 1000, hash(body)),
    ];
    for (const outcome of outcomes) {
      expect(outcome.at(-1)).toBe('!'.charCodeAt(0));
      expect(outcome.length - 1).toBeLessThan(1000);
    }
  });
});

describe('headers', () => {
  it('give a token by either scheme', () => {
    expect(parseAuthorization('Bearer abc')).toBe('abc');
    expect(parseAuthorization(`Basic ${Buffer.from('fluvia:a:b').toString('base64')}`)).toBe('a:b');
    for (const wrong of [
      undefined,
      '',
      'Basic',
      'Digest x',
      `Basic ${Buffer.from('x').toString('base64')}`,
    ]) {
      expect(parseAuthorization(wrong)).toBeUndefined();
    }
  });
  it('give one range or none', () => {
    expect(parseRange('bytes=0-9')).toEqual({ start: 0, end: 9 });
    expect(parseRange('bytes=5-')).toEqual({ start: 5 });
    for (const wrong of ['bytes=-5', 'bytes=9-0', 'bytes=0-1,3-4', 'items=0-1', undefined]) {
      expect(parseRange(wrong)).toBeUndefined();
    }
  });
});

describe('refusals of an S3', () => {
  it.each([
    [{ code: 'QuotaExceeded', message: '', status: 403 }, ERROR_CODES.STORE_FULL],
    [
      { code: 'InternalError', message: 'write: no space left on device', status: 500 },
      ERROR_CODES.STORE_FULL,
    ],
    [{ code: '', message: '', status: 507 }, ERROR_CODES.STORE_FULL],
    [{ code: 'SignatureDoesNotMatch', message: 'x', status: 403 }, ERROR_CODES.STORE_CREDENTIALS],
    [{ code: 'NoSuchBucket', message: 'x', status: 404 }, ERROR_CODES.STORE_BUCKET],
    [{ code: 'NoSuchKey', message: 'x', status: 404 }, ERROR_CODES.NOT_FOUND],
    [{ code: 'ECONNREFUSED', message: 'x', status: 0 }, ERROR_CODES.UNREACHABLE],
    [{ code: 'Weird', message: 'x', status: 400 }, ERROR_CODES.INTERNAL],
  ] as const)('%j is %s', (failure, code) => {
    expect(explainS3Error(failure, 'write a', 'bucket').code).toBe(code);
  });
});

describe('plans of the leader', () => {
  const request: TokenRequest = {
    volume: 'v0123456789abcdef',
    kind: 'append',
    epoch: 2,
    lifetimeSeconds: 600,
    attempt: 1,
  };
  const answered: Answered = { attempt: 1, volume: request.volume, kind: 'append', epoch: 2, issued: true };

  it('issue once, revoke what was replaced or withdrawn, and try refusals again', () => {
    expect(planToken(request, undefined, 'ready')).toEqual({ next: 'issue' });
    expect(planToken(request, answered, 'ready')).toEqual({ next: 'keep' });
    expect(planToken(request, answered, 'unready')).toEqual({ next: 'keep' });
    expect(planToken({ ...request, attempt: 2 }, answered, 'ready')).toEqual({
      revokeAttempt: 1,
      next: 'issue',
    });
    expect(planToken(request, answered, 'closed')).toEqual({ next: 'refuse', reason: 'NoTenant' });
    expect(planToken(undefined, answered, 'ready')).toEqual({ revokeAttempt: 1, next: 'withdraw' });
    expect(planToken(undefined, undefined, 'ready')).toEqual({ next: 'withdraw' });
    expect(planToken(request, undefined, 'missing')).toEqual({ next: 'refuse', reason: 'NoStore' });
    expect(planToken(request, { ...answered, issued: false }, 'unready')).toMatchObject({
      reason: 'StoreNotReady',
    });
    expect(planToken(request, { ...answered, issued: false }, 'ready')).toEqual({ next: 'issue' });
  });

  it('tell peers of a front that is ready, or why it is not', () => {
    const pod = (name: string, extra: Partial<FrontPod>): FrontPod => ({
      name,
      isReady: false,
      isGoing: false,
      createdAt: '2026-11-25T03:00:00Z',
      ...extra,
    });
    const going = pod('a', { isReady: true, isGoing: true, address: '10.0.0.1' });
    const next = pod('b', { address: '10.0.0.2' });
    expect(chooseFront([going, next])?.name).toBe('b');
    expect(chooseFront([])).toBeUndefined();
    const fixed = { port: 9447, caCertificate: 'pem', serverName: 'store.x.fluvia.internal' };
    expect(planStoreItem(next, fixed, 'wrong credentials')).toMatchObject({
      ready: false,
      message: 'wrong credentials',
    });
    expect(planStoreItem(going, fixed, undefined)).toBeUndefined();
    expect(planStoreItem(pod('c', {}), fixed, undefined)).toBeUndefined();
    expect(planStoreItem({ ...next, isReady: true }, fixed, undefined)).toEqual({
      address: '10.0.0.2',
      ...fixed,
      ready: true,
    });
  });
});
