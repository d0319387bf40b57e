/**
 * The few files of a restic repository that the mover reads and writes itself (restic's design document, repository
 * version 2). Each start of restic spends most of a CPU second on making a key of the password; a volume's key is random, not
 * a password, so the repositories made here have a key file that opens at once, and a snapshot is read without restic.
 */
import { createHash, hkdfSync, randomBytes, scryptSync } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { z } from 'zod';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { randomIrreducible } from './restic-polynomial.ts';
import { seal, unseal, type SealKey } from './restic-seal.ts';

/** What restic needs of scrypt; low, for what it stretches has 256 random bits already. */
const SCRYPT = { N: 1024, r: 8, p: 1 } as const;
const MAX_BYTES = 2 ** 20;
const ZSTD_MARK = 2;

/** What follows from a volume's key. */
export interface RepositoryKey {
  /** Seals all but the key file. */
  readonly master: SealKey;
  /** What opens it for restic: the same bytes each time, so that two who make it make one. */
  readonly file: { readonly name: string; readonly body: Buffer };
}

const sealKeyOf = (bytes: Buffer): SealKey => ({
  encrypt: bytes.subarray(0, 32),
  mac: { k: bytes.subarray(32, 48), r: bytes.subarray(48, 64) },
});

const sha256 = (body: Buffer): string => createHash('sha256').update(body).digest('hex');

/**
 * Derives the repository's master key from the volume's, which has to be random. Following from it, the master key is the
 * same whoever makes the repository, and whatever was left by one who died while making it.
 */
export const repositoryKey = (volumeKey: string): RepositoryKey => {
  // as restic does with the file
  const password = volumeKey.trim();
  const derived = Buffer.from(hkdfSync('sha256', password, '', 'fluvia restic repository', 144));
  const master = sealKeyOf(derived.subarray(0, 64));
  const salt = derived.subarray(64, 128);
  const nonce = derived.subarray(128);
  const user = sealKeyOf(scryptSync(password, salt, 64, SCRYPT));
  const { encrypt, mac } = master;
  const inside = {
    mac: { k: mac.k.toString('base64'), r: mac.r.toString('base64') },
    encrypt: encrypt.toString('base64'),
  };
  const body = Buffer.from(
    JSON.stringify({
      created: '1970-01-01T00:00:00Z',
      username: 'fluvia',
      hostname: 'fluvia',
      kdf: 'scrypt',
      ...SCRYPT,
      salt: salt.toString('base64'),
      data: seal(user, Buffer.from(JSON.stringify(inside)), nonce).toString('base64'),
    }),
  );
  return { master, file: { name: sha256(body), body } };
};

/** A new repository's config. */
export const newConfig = ({ master }: RepositoryKey): Buffer =>
  seal(
    master,
    Buffer.from(
      JSON.stringify({
        version: 2,
        id: randomBytes(32).toString('hex'),
        chunker_polynomial: randomIrreducible().toString(16),
      }),
    ),
  );

/** A snapshot's own file, as far as it is needed. */
export const SnapshotFile = z.object({
  tree: z.string().regex(/^[0-9a-f]{64}$/),
  tags: z.array(z.string()).optional(),
});
export type SnapshotFile = z.infer<typeof SnapshotFile>;

/**
 * Reads a snapshot as it came from the store, which is not trusted. Throws BAD_INPUT when it is not the one with this ID or is
 * malformed, FORBIDDEN when it was sealed with another key.
 */
export const readSnapshot = ({ master }: RepositoryKey, id: string, body: Buffer): SnapshotFile => {
  const bad = (message: string): FluviaError =>
    new FluviaError(ERROR_CODES.BAD_INPUT, `snapshot ${id} ${message}`, { kind: 'terminal' });
  if (body.length > MAX_BYTES) throw bad(`has ${body.length} bytes, more than ${MAX_BYTES}`);
  if (sha256(body) !== id) throw bad('has another content in the store than its name says');
  const plain = unseal(master, body);
  let value: unknown;
  try {
    const json =
      plain[0] === ZSTD_MARK ? zstdDecompressSync(plain.subarray(1), { maxOutputLength: MAX_BYTES }) : plain;
    value = JSON.parse(json.toString());
  } catch (error) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `snapshot ${id} can not be read`, {
      kind: 'terminal',
      cause: error,
    });
  }
  const parsed = SnapshotFile.safeParse(value);
  if (!parsed.success) throw bad(`is malformed: ${parsed.error.issues[0]?.message ?? ''}`);
  return parsed.data;
};
