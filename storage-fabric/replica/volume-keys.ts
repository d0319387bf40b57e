import { randomBytes } from 'node:crypto';
import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import { STORAGE_LABELS } from '../../api/storage-names.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isAlreadyExists } from '../../runtime/kube/errors.ts';
import { SECRET } from '../../runtime/kube/resources.ts';
import type { Manifest } from '../../runtime/kube/types.ts';
import { FIELD_MANAGER } from '../volumes/home-volumes.ts';

interface KeySecret extends Manifest {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * The key of a volume (restic's password), made once at home and kept in a Secret of Fluvia's own namespace. It outlives the
 * volume: without it no copy can be read.
 */
export const volumeKey = async (
  deps: ControllerDeps,
  volume: string,
  signal: AbortSignal,
): Promise<string> => {
  const name = `volume-key-${volume}`;
  const read = async (): Promise<string | undefined> => {
    const secret = await deps.client.get<KeySecret>(SECRET, name, deps.systemNamespace, { signal });
    const data = secret?.data?.['key'];
    return data === undefined ? undefined : Buffer.from(data, 'base64').toString();
  };
  const known = await read();
  if (known !== undefined) return known;
  const key = randomBytes(32).toString('base64url');
  const secret: KeySecret = {
    metadata: {
      name,
      namespace: deps.systemNamespace,
      labels: { [LABELS.managedBy]: MANAGED_BY, [STORAGE_LABELS.volume]: volume },
    },
    type: 'fluvia.dev/volume-key',
    data: { key: Buffer.from(key).toString('base64') },
  };
  try {
    await deps.client.create(SECRET, secret, { fieldManager: FIELD_MANAGER, signal });
    return key;
  } catch (error) {
    const theirs = isAlreadyExists(error) ? await read() : undefined;
    if (theirs === undefined) throw error;
    return theirs;
  }
};
