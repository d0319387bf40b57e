import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../api/errors.ts';
import { systemClock } from '../../runtime/clock.ts';
import { backup, maintain, restore, type MoverWorld } from './actions.ts';
import { createRestic, ResticError } from './restic.ts';
import { createStoreClient } from './store-client.ts';
import { TRANSFER_FOLDER, TransferFile, VOLUME_FOLDER, type MoverResult } from './transfer-file.ts';

/** The container's folder for its own files. */
const WORK_FOLDER = '/tmp/fluvia';
const TERMINATION_LOG = '/dev/termination-log';

export interface MoverPaths {
  readonly transfer: string;
  readonly volume: string;
  readonly work: string;
  readonly terminationLog: string;
}

const PATHS: MoverPaths = {
  transfer: TRANSFER_FOLDER,
  volume: VOLUME_FOLDER,
  work: WORK_FOLDER,
  terminationLog: TERMINATION_LOG,
};

const ACTIONS: Readonly<Record<TransferFile['action'], (world: MoverWorld) => Promise<object>>> = {
  backup,
  restore,
  maintain,
};

/** Runs the transfer; the exit code is 0 only when all of it is done. */
export const runMover = async (paths: MoverPaths = PATHS): Promise<number> => {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort(new Error('it was stopped'));
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  let end: MoverResult;
  try {
    const read = (name: string): string => readFileSync(join(paths.transfer, name), 'utf8');
    const transfer = TransferFile.parse(JSON.parse(read('transfer.json')));
    const token = read('token');
    mkdirSync(paths.work, { recursive: true, mode: 0o700 });
    const repositoryFile = join(paths.work, 'repository');
    writeFileSync(repositoryFile, `rest:${transfer.repository}`, { mode: 0o600 });
    let last = 0;
    const result = await ACTIONS[transfer.action]({
      transfer,
      volume: paths.volume,
      work: paths.work,
      restic: createRestic({
        repositoryFile,
        passwordFile: join(paths.transfer, 'key'),
        username: 'fluvia',
        token,
        caFile: join(paths.transfer, 'ca.crt'),
        cacheFolder: join(paths.work, 'cache'),
        signal: stop.signal,
      }),
      store: createStoreClient(transfer.repository, token, read('ca.crt')),
      clock: systemClock,
      onProgress: (progress) => {
        if (systemClock.monotonicMs() - last < 900) return;
        last = systemClock.monotonicMs();
        process.stdout.write(`${JSON.stringify(progress)}\n`);
      },
    });
    end = { ok: true, result };
  } catch (error) {
    const reason = error instanceof ResticError ? error.reason : 'TransferFailed';
    end = { ok: false, reason, message: messageOf(error).slice(0, 1000) };
  }
  process.stderr.write(`${JSON.stringify(end)}\n`);
  writeFileSync(paths.terminationLog, JSON.stringify(end));
  return end.ok ? 0 : 1;
};
