import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../runtime/clock.ts';
import { backup, maintain, restore, type MoverWorld } from './actions.ts';
import { planFailure, refusalSince, type MoverFailure, type Refusal } from './plan-failure.ts';
import { createRepository } from './repository.ts';
import { createRestic, ResticError } from './restic.ts';
import { createStoreClient, type StoreClient } from './store-client.ts';
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

/** What to say of a failure: what the store says that it refused, if it was the store. */
const explain = async (
  error: unknown,
  store: StoreClient | undefined,
  before: Refusal | undefined,
): Promise<MoverFailure> => {
  if (!(error instanceof ResticError)) return planFailure(error, undefined, undefined);
  try {
    const refusal = refusalSince(before, (await store?.usage())?.lastError);
    return planFailure(error, error.reason, refusal);
  } catch (told) {
    // a token that has ended opens nothing, not even this
    return planFailure(told, undefined, undefined);
  }
};

/** Runs the transfer; the exit code is 0 only when all of it is done. */
export const runMover = async (paths: MoverPaths = PATHS): Promise<number> => {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort(new Error('it was stopped'));
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  let end: MoverResult;
  let store: StoreClient | undefined;
  let before: Refusal | undefined;
  try {
    const read = (name: string): string => readFileSync(join(paths.transfer, name), 'utf8');
    const transfer = TransferFile.parse(JSON.parse(read('transfer.json')));
    const token = read('token');
    const key = read('key');
    mkdirSync(paths.work, { recursive: true, mode: 0o700 });
    const repositoryFile = join(paths.work, 'repository');
    writeFileSync(repositoryFile, `rest:${transfer.repository}`, { mode: 0o600 });
    store = createStoreClient({
      repository: transfer.repository,
      token,
      caCertificate: read('ca.crt'),
      clock: systemClock,
      signal: stop.signal,
    });
    // a store that can't be used says so here, where restic would try again for a quarter of an hour
    const begun = store.usage().then((usage) => {
      before = usage.lastError;
      return usage;
    });
    // awaited once the volume is ready
    begun.catch(() => undefined);
    const restic = createRestic({
      repositoryFile,
      passwordFile: join(paths.transfer, 'key'),
      username: 'fluvia',
      token,
      caFile: join(paths.transfer, 'ca.crt'),
      cacheFolder: join(paths.work, 'cache'),
      signal: stop.signal,
    });
    let last = 0;
    const result = await ACTIONS[transfer.action]({
      transfer,
      volume: paths.volume,
      work: paths.work,
      restic,
      repository: createRepository(store, restic, key),
      key,
      store,
      begun,
      clock: systemClock,
      onProgress: (progress) => {
        if (systemClock.monotonicMs() - last < 900) return;
        last = systemClock.monotonicMs();
        process.stdout.write(`${JSON.stringify(progress)}\n`);
      },
    });
    end = { ok: true, result };
  } catch (error) {
    // whoever stopped it doesn't wait for what the store says
    end = stop.signal.aborted
      ? planFailure(error, 'Interrupted', undefined)
      : await explain(error, store, before);
  }
  process.stderr.write(`${JSON.stringify(end)}\n`);
  writeFileSync(paths.terminationLog, JSON.stringify(end));
  process.off('SIGTERM', onSignal);
  process.off('SIGINT', onSignal);
  return end.ok ? 0 : 1;
};
