import { createHash, type KeyObject } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { ClusterId, Pin } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';

/** Names that follow from a key: pins, cluster IDs, fingerprints. */

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Base32 (RFC 4648, lower case, without padding). */
export const base32 = (bytes: Uint8Array): string => {
  let text = '';
  let buffer = 0;
  let bits = 0;
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(buffer >> bits) & 31];
    }
  }
  return bits > 0 ? text + ALPHABET[(buffer << (5 - bits)) & 31] : text;
};

/** The pin of a public key: SHA-256 of its SPKI, lower-case hex. */
export const pinOfKey = (key: KeyObject): Pin =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');

/** The cluster ID that belongs to a pin. */
export const clusterIdOfPin = (pin: Pin): ClusterId => base32(Buffer.from(pin, 'hex')).slice(0, 26);

/** Short fingerprint of a pair of identities; the same whichever side asks. 80 bits, in groups of four. */
export const fingerprintOf = (a: Pin, b: Pin): string => {
  const [first = '', second = ''] = [a, b].sort();
  const digest = createHash('sha256').update(`fluvia-peering\n${first}\n${second}`).digest();
  return (base32(digest).slice(0, 16).match(/.{4}/g) ?? []).join('-');
};

/** Who is at the other end of a TLS connection. */
export interface RemoteKey {
  readonly pin: Pin;
  readonly key: KeyObject;
}

/**
 * The key that the other end proved to have. TLS 1.3 makes it sign the handshake whatever its certificate says, but not
 * when a session is resumed, so resumed sessions are refused.
 * @throws {FluviaError} PIN_MISMATCH when there is none.
 */
export const remoteKeyOf = (socket: TLSSocket): RemoteKey => {
  const certificate = socket.isSessionReused() ? undefined : socket.getPeerX509Certificate();
  if (certificate === undefined || socket.getProtocol() !== 'TLSv1.3') {
    throw new FluviaError(ERROR_CODES.PIN_MISMATCH, 'the other end of the connection has shown no identity', {
      kind: 'stalled',
      hint: 'something between the clusters ends TLS: let the connection through unchanged',
    });
  }
  return { pin: pinOfKey(certificate.publicKey), key: certificate.publicKey };
};

/** RFC 8446 §7.5: bytes that only the two ends of this very connection know. */
export const exporterOf = (socket: TLSSocket): Buffer =>
  socket.exportKeyingMaterial(32, 'EXPORTER-fluvia-join', Buffer.alloc(0));
