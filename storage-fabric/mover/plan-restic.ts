/** restic's command lines and what it says: pure. Passwords and tokens are never arguments. */
import { z } from 'zod';
import type { MoverProgress } from './transfer-file.ts';

/** Snapshots of one volume belong together whatever path they were taken from. */
const HOST = 'fluvia';

/** Global flags of every call. */
export const globalFlags = (cacheFolder: string, caFile: string): readonly string[] => [
  `--cacert=${caFile}`,
  `--cache-dir=${cacheFolder}`,
  '--retry-lock=30s',
];

/** Mode and owner of the volume's root, which a copy of `.` loses; carried as a tag. */
export interface RootAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export const rootTag = ({ mode, uid, gid }: RootAttributes): string =>
  `fluvia-root=${(mode & 0o7777).toString(8)}.${uid}.${gid}`;

export const parseRootTag = (tags: readonly string[]): RootAttributes | undefined => {
  for (const tag of tags) {
    const match = /^fluvia-root=([0-7]{1,4})\.(\d{1,10})\.(\d{1,10})$/.exec(tag);
    if (match !== null)
      return { mode: Number.parseInt(match[1] ?? '0', 8), uid: Number(match[2]), gid: Number(match[3]) };
  }
  return undefined;
};

export const backupArguments = (options: {
  readonly tag: string;
  readonly time: string;
  readonly parent: string | undefined;
}): readonly string[] => [
  'backup',
  '--json',
  `--host=${HOST}`,
  '--group-by=host',
  `--tag=${options.tag}`,
  `--time=${options.time}`,
  ...(options.parent === undefined ? [] : [`--parent=${options.parent}`]),
  // a restored or copied tree has other inodes: what changed is told by size and time
  '--ignore-inode',
  '--ignore-ctime',
  '--no-scan',
  '.',
];

export const restoreArguments = (snapshot: string, target: string): readonly string[] => [
  'restore',
  snapshot,
  '--json',
  '--no-lock',
  `--target=${target}`,
  '--delete',
  '--overwrite=if-changed',
  '--sparse',
  '--verify',
];

/** Where `--time` wants local time; movers run in UTC. */
export const resticTime = (at: Date): string => at.toISOString().slice(0, 19).replace('T', ' ');

const Status = z.object({
  message_type: z.literal('status'),
  total_bytes: z.number().optional(),
  bytes_done: z.number().optional(),
  bytes_restored: z.number().optional(),
});
const Summary = z.object({
  message_type: z.literal('summary'),
  snapshot_id: z.string().optional(),
  total_bytes_processed: z.number().optional(),
  data_added_packed: z.number().optional(),
});
const Failure = z.object({
  message_type: z.enum(['error', 'exit_error']),
  message: z.string().optional(),
  error: z.object({ message: z.string().optional() }).optional(),
});

/** One line of `--json` output. */
export type ResticLine =
  | { readonly kind: 'progress'; readonly progress: MoverProgress }
  | {
      readonly kind: 'summary';
      readonly snapshotID: string | undefined;
      readonly bytes: number;
      /** New data as it was packed: compressed, encrypted. */
      readonly bytesAdded: number;
    }
  | { readonly kind: 'error'; readonly message: string }
  | { readonly kind: 'other' };

/** Reads a line; anything unknown is `other`. */
export const parseResticLine = (line: string): ResticLine => {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { kind: 'other' };
  }
  const status = Status.safeParse(value);
  if (status.success) {
    const { total_bytes = 0, bytes_done, bytes_restored } = status.data;
    return { kind: 'progress', progress: { done: bytes_done ?? bytes_restored ?? 0, total: total_bytes } };
  }
  const summary = Summary.safeParse(value);
  if (summary.success) {
    const { snapshot_id, total_bytes_processed = 0, data_added_packed = 0 } = summary.data;
    return {
      kind: 'summary',
      snapshotID: snapshot_id,
      bytes: total_bytes_processed,
      bytesAdded: data_added_packed,
    };
  }
  const failure = Failure.safeParse(value);
  if (failure.success)
    return { kind: 'error', message: failure.data.message ?? failure.data.error?.message ?? 'unknown error' };
  return { kind: 'other' };
};

/** The reason of a failure that restic has no exit code for: what the store refused is one. */
export const UNKNOWN_REASON = 'ResticFailed';

/** What restic's exit code means: whether a copy may count, and a word for programs. */
export const judgeExit = (
  code: number | undefined,
): { readonly reason: string; readonly message: string } => {
  switch (code) {
    case 3:
      return {
        reason: 'SourceChanged',
        message:
          'some files could not be read, most often because they went meanwhile; the copy does not count. A volume on btrfs is copied from a snapshot; elsewhere copy while its writers are quiet',
      };
    case 10:
      return { reason: 'NoRepository', message: 'there is no repository for this volume in the store' };
    case 11:
      return { reason: 'Locked', message: 'the repository is locked by an earlier copy' };
    case 12:
      return { reason: 'WrongKey', message: "the volume's key does not open the repository" };
    case 130:
      return { reason: 'Interrupted', message: 'it was stopped' };
    default:
      return { reason: UNKNOWN_REASON, message: `restic ended with code ${code ?? 'unknown'}` };
  }
};
