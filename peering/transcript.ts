import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import type { Pin } from '../api/cluster-id.ts';

/** What both sides of a join sign: everything that they agreed on, and the connection on which they did. */

export interface Transcript {
  readonly inviteID: string;
  readonly inviterPin: Pin;
  readonly joinerPin: Pin;
  readonly inviterClusterID: string;
  readonly joinerClusterID: string;
  readonly inviterName: string;
  readonly joinerName: string;
  readonly joinerClusterUID: string;
  readonly offeredProtocol: { readonly min: number; readonly max: number };
  readonly offeredFeatures: readonly string[];
  readonly chosenProtocol: number;
  readonly chosenFeatures: readonly string[];
  /** What the joiner will be to the inviter. */
  readonly roles: readonly string[];
  /** TLS exporter of the connection: a signature is worth nothing on another one. */
  readonly exporter: Uint8Array;
}

/** Who signs; part of what is signed, so that no signature can stand for another. */
export type Signer = 'invite' | 'joiner' | 'inviter';

const lengthPrefixed = (bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.byteLength);
  return Buffer.concat([length, bytes]);
};

const text = (value: string): Buffer => lengthPrefixed(Buffer.from(value, 'utf8'));
const list = (values: readonly string[]): Buffer => lengthPrefixed(Buffer.concat(values.map(text)));

/** Canonical bytes: every field with its length, in fixed order, so that different transcripts have different bytes. */
export const transcriptBytes = (signer: Signer, t: Transcript): Buffer =>
  Buffer.concat([
    text('fluvia-join-v1'),
    text(signer),
    text(t.inviteID),
    text(t.inviterPin),
    text(t.joinerPin),
    text(t.inviterClusterID),
    text(t.joinerClusterID),
    text(t.inviterName),
    text(t.joinerName),
    text(t.joinerClusterUID),
    text(`${t.offeredProtocol.min}-${t.offeredProtocol.max}`),
    list(t.offeredFeatures),
    text(String(t.chosenProtocol)),
    list(t.chosenFeatures),
    list(t.roles),
    lengthPrefixed(t.exporter),
  ]);

/** Signs a transcript with an Ed25519 key. */
export const signTranscript = (signer: Signer, transcript: Transcript, key: KeyObject): Buffer =>
  sign(null, transcriptBytes(signer, transcript), key);

/** Whether the signature is that of `key` over the transcript; false for anything malformed. */
export const verifyTranscript = (
  signer: Signer,
  transcript: Transcript,
  key: KeyObject,
  signature: Uint8Array,
): boolean => {
  if (key.asymmetricKeyType !== 'ed25519' || signature.byteLength !== 64) return false;
  return verify(null, transcriptBytes(signer, transcript), key, signature);
};

/** PKCS #8 of an Ed25519 key is this and its 32-byte seed (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** The private key of an invite's seed. */
export const inviteKeyOfSeed = (seed: string): KeyObject =>
  createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, Buffer.from(seed, 'base64url')]),
    format: 'der',
    type: 'pkcs8',
  });

/** Raw public key of an Ed25519 key, base64: what the Invite object keeps. */
export const rawPublicKey = (key: KeyObject): string =>
  createPublicKey(key)
    .export({ type: 'spki', format: 'der' })
    .subarray(SPKI_PREFIX.length)
    .toString('base64');

/** The key of {@link rawPublicKey}'s text; undefined when it isn't one. */
export const publicKeyOfRaw = (raw: string): KeyObject | undefined => {
  const bytes = Buffer.from(raw, 'base64');
  if (bytes.length !== 32) return undefined;
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: 'der', type: 'spki' });
};
