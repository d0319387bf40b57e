/** The few requests to a store's front that restic doesn't make, of one volume, with patience for a front that restarts. */
import { Agent } from 'node:https';
import type { CommitRecord } from '../../api/commit-record.ts';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createFrontClient, type FrontUsage } from '../store/front-client.ts';

export interface StoreClient {
  /** What the front counted for this volume, and why it last refused something. */
  usage(): Promise<FrontUsage>;
  writeCommit(record: CommitRecord): Promise<void>;
  commits(): Promise<readonly CommitRecord[]>;
  deleteCommit(epoch: number, sequence: number): Promise<void>;
  /** Reads a small file of the repository; undefined when it isn't there. */
  readFile(name: string): Promise<Buffer | undefined>;
  /** Writes one. */
  writeFile(name: string, body: Buffer): Promise<void>;
}

export interface StoreClientOptions {
  /** `https://<server name>:<port><path>`, ends in a slash. */
  readonly repository: string;
  readonly token: string;
  readonly caCertificate: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const TIMEOUT_MS = 60_000;
/** A front, its link or its S3 that restarts is back sooner. */
const PATIENCE_MS = 60_000;
const AGAIN_MS = 1000;
const IDLE_MS = 5000;

/** Every request of it may be repeated, so each is until the store answers. */
export const createStoreClient = (options: StoreClientOptions): StoreClient => {
  const { repository, token, caCertificate, clock, signal } = options;
  const { hostname, port, pathname } = new URL(repository);
  const front = createFrontClient({
    address: hostname,
    port: Number(port === '' ? 443 : port),
    caCertificate,
    serverName: hostname,
    token,
    timeoutMs: TIMEOUT_MS,
    // for requests that follow one another; one that idled while restic worked may be dead at the other end
    agent: new Agent({ keepAlive: true, timeout: IDLE_MS }),
  });
  const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
    const end = clock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const isAway = error instanceof FluviaError && error.code === ERROR_CODES.UNREACHABLE;
        if (!isAway || clock.monotonicMs() >= end) throw error;
        await clock.sleep(AGAIN_MS, signal);
      }
    }
  };
  return {
    usage: () => patiently(() => front.usage(pathname)),
    writeCommit: (record) => patiently(() => front.commit(pathname, record)),
    commits: () => patiently(() => front.commits(pathname)),
    deleteCommit: (epoch, sequence) => patiently(() => front.deleteCommit(pathname, epoch, sequence)),
    readFile: (name) => patiently(() => front.readFile(pathname, name)),
    writeFile: (name, body) => patiently(() => front.writeFile(pathname, name, body)),
  };
};
