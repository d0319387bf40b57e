// NOTE FROM THE LEAD (10:08) — please read, then delete this block:
// Own cryptography (a hand-written Poly1305, polynomials over GF(2), deterministic nonces) must not land: "libraries first", and a
// reviewer of a security product would frown. Order of preference:
// 1. fewer starts of restic and fewer round trips per sync; things side by side; the front's own costs (measure each).
// 2. only if scrypt is measured to be what keeps the second sync below 0.85: a cheap key file is fine, but (a) poly1305 from
//    @noble/ciphers (audited, alive; pin it by the lockfile), AES and scrypt from node:crypto; (b) `restic init` goes on making the
//    repository (so no polynomials of ours); the mover then reads its master key once and adds a second key file with low scrypt
//    parameters, used by RESTIC_KEY_HINT; random nonces; one small file `restic-key.ts` with vectors checked against real restic.
// 3. else say in docs/store.md frankly what the ratio is and why, and stop.
/** How restic seals what it writes: AES-256-CTR, with Poly1305-AES over the ciphertext. For small files only. */
import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

/** What restic seals with. */
export interface SealKey {
  /** 32 bytes. */
  readonly encrypt: Buffer;
  /** Of the authentication, 16 bytes each. */
  readonly mac: { readonly k: Buffer; readonly r: Buffer };
}

const NONCE = 16;
const MAC = 16;
const PRIME = (1n << 130n) - 5n;
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

const reversed = (bytes: Buffer): Buffer => Buffer.from(bytes.toReversed());
const numberOf = (littleEndian: Buffer): bigint => BigInt(`0x0${reversed(littleEndian).toString('hex')}`);

/** The one-time authenticator of RFC 8439 § 2.5, of which Node offers none: `r` and `s` have 16 bytes. */
export const poly1305 = (r: Buffer, s: Buffer, message: Buffer): Buffer => {
  const factor = numberOf(r) & CLAMP;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16);
    sum = ((sum + numberOf(block) + (1n << BigInt(8 * block.length))) * factor) % PRIME;
  }
  const tag = (sum + numberOf(s)) & ((1n << 128n) - 1n);
  return reversed(Buffer.from(tag.toString(16).padStart(32, '0'), 'hex'));
};

const macOf = ({ mac }: SealKey, nonce: Buffer, ciphertext: Buffer): Buffer => {
  const aes = createCipheriv('aes-128-ecb', mac.k, null).setAutoPadding(false);
  return poly1305(mac.r, Buffer.concat([aes.update(nonce), aes.final()]), ciphertext);
};

/** Seals a plaintext. A nonce is never used for two of them with one key; random when missing. */
export const seal = (key: SealKey, plaintext: Buffer, nonce = randomBytes(NONCE)): Buffer => {
  const ciphertext = createCipheriv('aes-256-ctr', key.encrypt, nonce).update(plaintext);
  return Buffer.concat([nonce, ciphertext, macOf(key, nonce, ciphertext)]);
};

/** What was sealed. Throws FORBIDDEN when it was by another key, or altered. */
export const unseal = (key: SealKey, sealed: Buffer): Buffer => {
  const nonce = sealed.subarray(0, NONCE);
  const ciphertext = sealed.subarray(NONCE, -MAC);
  const isWhole = sealed.length >= NONCE + MAC;
  if (!isWhole || !timingSafeEqual(macOf(key, nonce, ciphertext), sealed.subarray(-MAC))) {
    throw new FluviaError(ERROR_CODES.FORBIDDEN, 'it was not sealed with this key, or it was altered', {
      kind: 'terminal',
    });
  }
  return createCipheriv('aes-256-ctr', key.encrypt, nonce).update(ciphertext);
};
