/** `node front-process.ts JSON`: the store's front as a process of its own, to be measured and killed. */
import { systemClock } from '../../runtime/clock.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import type { ObjectStoreAccess } from '../../storage-fabric/store/object-store.ts';
import { runStore } from '../../storage-fabric/store/run.ts';

/** Its only argument. */
export interface FrontArguments {
  readonly access: ObjectStoreAccess;
  readonly keysFolder: string;
  readonly port: number;
  readonly quotaBytes?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
}

const { quotaBytes, bytesPerSecond, ...rest } = JSON.parse(process.argv[2] ?? '') as FrontArguments;
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
await runStore(
  {
    ...rest,
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    makeBucket: true,
    host: '127.0.0.1',
    clock: systemClock,
    log: createLogger(),
    metrics: createMetrics(),
    onTrouble: (reason) => process.stdout.write(`trouble: ${reason ?? 'none'}\n`),
  },
  stop.signal,
).catch((error: unknown) => {
  if (!stop.signal.aborted) throw error;
});
process.exit(0);
