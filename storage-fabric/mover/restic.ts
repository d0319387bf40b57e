/** Drives restic: its repository and password come from files, its progress as lines. */
import { z } from 'zod';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { execTool, HostToolError } from '../../runtime/host/exec.ts';
import { globalFlags, judgeExit, parseResticLine } from './plan-restic.ts';
import { SnapshotFile } from './restic-files.ts';
import type { MoverProgress } from './transfer-file.ts';

export interface ResticOptions {
  readonly repositoryFile: string;
  readonly passwordFile: string;
  readonly username: string;
  /** The store's token, given by the environment of the process only. */
  readonly token: string;
  readonly caFile: string;
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
}

export interface ResticSummary {
  readonly snapshotID: string | undefined;
  readonly bytes: number;
  /** New data as it was packed. */
  readonly bytesAdded: number;
}

/** A failed call, with what restic said last. */
export class ResticError extends FluviaError {
  readonly exitCode: number | undefined;
  readonly reason: string;

  constructor(exitCode: number | undefined, said: string, cause: unknown) {
    const { reason, message } = judgeExit(exitCode);
    super(ERROR_CODES.HOST_TOOL, said === '' ? message : `${message}: ${said}`, { cause });
    this.name = 'ResticError';
    this.exitCode = exitCode;
    this.reason = reason;
  }
}

const SnapshotList = z.array(z.object({ id: z.string() }));

const DAY_MS = 86_400_000;

export interface Restic {
  /** Runs a command with `--json`; rejects with {@link ResticError} for any exit code but 0. */
  run(
    args: readonly string[],
    options?: { readonly cwd?: string; readonly onProgress?: (progress: MoverProgress) => void },
  ): Promise<ResticSummary>;
  /** Runs a command and gives what it printed. */
  text(args: readonly string[]): Promise<string>;
  /** Tree and tags of a snapshot, of any repository that the key opens. */
  snapshot(id: string): Promise<SnapshotFile>;
  /** IDs of all snapshots. */
  snapshots(): Promise<readonly string[]>;
}

export const createRestic = (options: ResticOptions): Restic => {
  const env = {
    RESTIC_REPOSITORY_FILE: options.repositoryFile,
    RESTIC_PASSWORD_FILE: options.passwordFile,
    RESTIC_REST_USERNAME: options.username,
    RESTIC_REST_PASSWORD: options.token,
    RESTIC_PROGRESS_FPS: '1',
    // the container has no home directory
    HOME: options.cacheFolder,
    TZ: 'UTC',
    GOMAXPROCS: '2',
  };
  const flags = globalFlags(options.cacheFolder, options.caFile);
  const base = { env, timeoutMs: DAY_MS, signal: options.signal, abortSignal: 'SIGINT' } as const;
  const fail = (error: unknown, said: string): never => {
    if (!(error instanceof HostToolError) || error.isMissing) throw error;
    // JSON lines say it best; plain ones end in a hint that alone means nothing
    const lines = error.stderr.trim().split('\n');
    const parsed = parseResticLine(lines.at(-1) ?? '');
    const tail = parsed.kind === 'error' ? parsed.message : lines.slice(-3).join('; ').slice(-500);
    throw new ResticError(error.exitCode, said || tail, error);
  };
  const text = async (args: readonly string[]): Promise<string> => {
    try {
      return await execTool('restic', [...args, ...flags], base);
    } catch (error) {
      return fail(error, '');
    }
  };
  return {
    text,
    run: async (args, { cwd, onProgress } = {}) => {
      let summary: ResticSummary = { snapshotID: undefined, bytes: 0, bytesAdded: 0 };
      let said = '';
      const onLine = (line: string): void => {
        const parsed = parseResticLine(line);
        if (parsed.kind === 'progress') onProgress?.(parsed.progress);
        if (parsed.kind === 'summary') summary = parsed;
        if (parsed.kind === 'error') said = parsed.message;
      };
      try {
        await execTool('restic', [...args, ...flags], { ...base, cwd, onLine });
      } catch (error) {
        fail(error, said);
      }
      return summary;
    },
    snapshot: async (id) => SnapshotFile.parse(JSON.parse(await text(['cat', 'snapshot', id, '--no-lock']))),
    snapshots: async () =>
      SnapshotList.parse(JSON.parse(await text(['snapshots', '--json', '--no-lock']))).map(({ id }) => id),
  };
};
