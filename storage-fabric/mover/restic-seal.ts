/** How restic seals what it writes: AES-256-CTR, with Poly1305-AES over the ciphertext (Node offers no Poly1305 by itself). */
import { poly1305 } from '@noble/ciphers/_poly1305.js';
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

const macOf = ({ mac }: SealKey, nonce: Buffer, ciphertext: Buffer): Buffer => {
  const aes = createCipheriv('aes-128-ecb', mac.k, null).setAutoPadding(false);
  const oneTimeKey = Buffer.concat([mac.r, aes.update(nonce), aes.final()]);
  return Buffer.from(poly1305(ciphertext, oneTimeKey));
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
