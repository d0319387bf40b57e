/**
 * Short-lived tokens of a store. Signed with a key that only the leader and the front have, so that the front needs no
 * list of them and a restart of either forgets none. What revokes one: its time, a higher epoch, or its ID by name.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { VolumeId } from '../../api/storage-collections.ts';

/** Volume of the tokens that the leader gives itself. */
const CONTROL_VOLUME = '-';

/** What a token allows. `control` is the leader's own, to revoke others. */
export const TokenKind = z.enum(['append', 'maintain', 'read', 'control']);
export type TokenKind = z.infer<typeof TokenKind>;

const TokenClaims = z.strictObject({
  /** Cluster ID of the peering that it was given to: the only prefix that it opens. */
  tenant: z.string().regex(/^[0-9a-z]{26}$/),
  volume: z.union([VolumeId, z.literal(CONTROL_VOLUME)]),
  kind: TokenKind,
  epoch: z.number().int().min(0),
  /** Seconds since 1970. */
  expires: z.number().int(),
  /** Milliseconds since 1970: a tenant's tokens are revoked all together by when they were issued. */
  issued: z.number().int().min(0).default(0),
  id: z.string().regex(/^[0-9a-f]{32}$/),
});
/** What a token says. */
export type TokenClaims = z.infer<typeof TokenClaims>;

const PREFIX = 'fst1';

const signatureOf = (key: Buffer, payload: string): Buffer =>
  createHmac('sha256', key).update(`${PREFIX}.${payload}`).digest();

/** Makes a token, at most 512 characters. A secret. */
export const signToken = (key: Buffer, claims: TokenClaims): string => {
  const { tenant, volume, kind, epoch, expires, id, issued } = claims;
  const payload = Buffer.from(JSON.stringify([tenant, volume, kind, epoch, expires, id, issued])).toString(
    'base64url',
  );
  return `${PREFIX}.${payload}.${signatureOf(key, payload).toString('base64url')}`;
};

/** What a token says if it is ours, whole and within its time; undefined else. */
export const verifyToken = (key: Buffer, token: string, now: Date): TokenClaims | undefined => {
  if (token.length > 512) return undefined;
  const [prefix, payload, signature, ...rest] = token.split('.');
  if (prefix !== PREFIX || payload === undefined || signature === undefined || rest.length > 0)
    return undefined;
  const given = Buffer.from(signature, 'base64url');
  const wanted = signatureOf(key, payload);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined;
  const [tenant, volume, kind, epoch, expires, id, issued] = JSON.parse(
    Buffer.from(payload, 'base64url').toString(),
  ) as unknown[];
  const claims = TokenClaims.safeParse({ tenant, volume, kind, epoch, expires, id, issued });
  return claims.success && claims.data.expires * 1000 > now.getTime() ? claims.data : undefined;
};

/** The ID of a request's token: the same after a restart of the leader, so that it can still be revoked. */
export const tokenId = (key: Buffer, tenant: string, request: string, attempt: number): string =>
  createHmac('sha256', key)
    .update(JSON.stringify(['id', tenant, request, attempt]))
    .digest('hex')
    .slice(0, 32);

/** The leader's own token for a tenant, good for a minute. */
export const controlToken = (key: Buffer, tenant: string, now: Date): string =>
  signToken(key, {
    tenant,
    volume: CONTROL_VOLUME,
    kind: 'control',
    epoch: 0,
    expires: Math.floor(now.getTime() / 1000) + 60,
    issued: now.getTime(),
    id: '0'.repeat(32),
  });
