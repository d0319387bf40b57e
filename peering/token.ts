import { z } from 'zod';
import { ClusterId, DnsLabel, Pin } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { PeerRole } from '../api/v1alpha1/peer.ts';
import { clusterIdOfPin } from './keys.ts';

/** The text that one administrator hands to another: everything that a joiner needs, and a seed that must stay secret. */

const PREFIX = 'fluvia1.';
/** Longest token that is looked at. */
const LONGEST = 8192;

/** Invite IDs are names of Invite objects. */
export const InviteId = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/);

/** `host:port`; IPv6 addresses in brackets. */
export const Endpoint = z
  .string()
  .min(3)
  .max(260)
  .regex(/^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):[1-9][0-9]{0,4}$/)
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65535);

const Token = z
  .object({
    v: z.literal(1),
    id: InviteId,
    /** Ed25519 seed, 32 bytes, base64url. */
    seed: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    pin: Pin,
    clusterID: ClusterId,
    name: DnsLabel,
    /** What the joiner will be to the inviter. */
    roles: z.array(PeerRole).min(1).max(2),
    expiresAt: z.iso.datetime({ offset: true }),
    endpoints: z.array(Endpoint).min(1).max(8),
    protocol: z.object({ min: z.number().int().min(1), max: z.number().int().min(1) }),
    features: z.array(z.string().max(64)).max(64),
  })
  .readonly();

/** An invite as the joiner sees it. */
export type InviteToken = z.infer<typeof Token>;

const invalid = (why: string, cause?: unknown): FluviaError =>
  new FluviaError(ERROR_CODES.INVITE_INVALID, `the invite is not usable: ${why}`, {
    kind: 'terminal',
    hint: 'copy the whole invite again, or ask for a new one (fluviactl invite)',
    cause,
  });

/** The text form of an invite. Holds the seed: never log it, never pass it in argv. */
export const formatToken = (token: InviteToken): string =>
  PREFIX + Buffer.from(JSON.stringify(token), 'utf8').toString('base64url');

/**
 * Reads an invite. What was changed in it and still reads is refused by the inviter, whose Invite knows the key.
 * @throws {FluviaError} INVITE_INVALID for anything else than a whole invite.
 */
export const parseToken = (text: string): InviteToken => {
  const trimmed = text.trim();
  if (trimmed.length > LONGEST) throw invalid('it is too long');
  if (!trimmed.startsWith(PREFIX)) {
    throw invalid(
      /^fluvia\d+\./.test(trimmed) ? 'it is of another version of Fluvia' : 'it does not begin with fluvia1.',
    );
  }
  const encoded = trimmed.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64url');
  // Node skips what isn't base64url; only the exact encoding counts, so that one invite has one text.
  if (bytes.toString('base64url') !== encoded) throw invalid('it is damaged');
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalid('it is damaged', error);
  }
  const parsed = Token.safeParse(json);
  if (!parsed.success) throw invalid(`${parsed.error.issues[0]?.path.join('.') ?? ''} is wrong`);
  const token = parsed.data;
  if (clusterIdOfPin(token.pin) !== token.clusterID) throw invalid('its cluster ID and its key differ');
  return token;
};
