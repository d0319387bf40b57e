/** A volume's repository, as far as the mover needs no restic for it: each start of restic opens the repository anew. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { newConfig, readSnapshot, repositoryKey, type SnapshotFile } from './restic-files.ts';
import type { Restic } from './restic.ts';
import type { StoreClient } from './store-client.ts';

export interface Repository {
  /** Makes it if there is none. Safe to be killed in between and begun anew, by others at the same time too. */
  ensure(): Promise<void>;
  /** Tree and tags of a snapshot. */
  snapshot(id: string): Promise<SnapshotFile>;
}

const isForbidden = (error: unknown): boolean =>
  error instanceof FluviaError && error.code === ERROR_CODES.FORBIDDEN;

/** `volumeKey` is restic's password. */
export const createRepository = (
  store: Pick<StoreClient, 'readFile' | 'writeFile'>,
  restic: Pick<Restic, 'snapshot'>,
  volumeKey: string,
): Repository => {
  const key = repositoryKey(volumeKey);
  const exists = async (): Promise<boolean> => (await store.readFile('config')) !== undefined;
  return {
    ensure: async () => {
      if (await exists()) return;
      // restic's order: a config is the sign that all is there
      await store.writeFile(`keys/${key.file.name}`, key.file.body);
      try {
        await store.writeFile('config', newConfig(key));
      } catch (error) {
        // another was first, or this one was and its answer got lost
        if (!isForbidden(error) || !(await exists())) throw error;
      }
    },
    snapshot: async (id) => {
      const body = await store.readFile(`snapshots/${id}`);
      // restic says best what is missing
      if (body === undefined) return restic.snapshot(id);
      try {
        return readSnapshot(key, id, body);
      } catch (error) {
        // a repository that restic made has a master key of its own, or the volume's key is another
        if (isForbidden(error)) return restic.snapshot(id);
        throw error;
      }
    },
  };
};
