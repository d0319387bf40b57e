/**
 * `fluviad store`: the front before this cluster's object store. Needs nothing of the API server: its keys are mounted,
 * tokens are signed by the leader, epochs lie in the object store.
 */
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { PORTS } from '../api/labels.ts';
import { systemClock } from '../runtime/clock.ts';
import { createLogger } from '../runtime/log.ts';
import { createMetrics, processMetrics } from '../runtime/metrics.ts';
import { installShutdown } from '../runtime/shutdown.ts';
import { tenantQuota } from '../storage-fabric/store/plan-quota.ts';
import { runStore } from '../storage-fabric/store/run.ts';
import { required } from './environment.ts';
import { readStoreAccess } from './store-access.ts';
import { startHealthServer } from './health-server.ts';

const optionalBytes = (name: string): number | undefined => {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `${name} is "${text}", not a number of bytes`, {
      kind: 'terminal',
    });
  }
  return value;
};

const main = async (): Promise<void> => {
  const log = createLogger({ fields: { pod: required('POD_NAME') } });
  const metrics = createMetrics();
  processMetrics(metrics);
  const shutdown = installShutdown({ log, limitMs: 8000 });
  const { signal } = shutdown;
  let waitingFor: string | undefined = 'the object store was not asked yet';
  await startHealthServer({ port: PORTS.metrics, metrics, notReadyBecause: () => waitingFor }, signal);
  const quotaBytes = optionalBytes('FLUVIA_STORE_QUOTA_BYTES');
  const tenantQuotaBytes = tenantQuota(
    optionalBytes('FLUVIA_STORE_TENANT_QUOTA_BYTES'),
    optionalBytes('FLUVIA_STORE_SIZE_BYTES'),
  );
  const bytesPerSecond = optionalBytes('FLUVIA_STORE_BYTES_PER_SECOND');
  const accessFolder = required('FLUVIA_S3_ACCESS');
  const running = runStore(
    {
      access: readStoreAccess(accessFolder),
      readAccess: () => readStoreAccess(accessFolder),
      makeBucket: process.env['FLUVIA_S3_MAKE_BUCKET'] === 'true',
      keysFolder: required('FLUVIA_STORE_KEYS'),
      port: PORTS.store,
      ...(quotaBytes === undefined ? {} : { quotaBytes }),
      tenantQuotaBytes,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      clock: systemClock,
      log,
      metrics,
      onTrouble: (reason) => {
        waitingFor = reason;
      },
    },
    signal,
  );
  shutdown.onStop('store', () => running);
  await running;
  // Else it ended by itself, to be started anew by the kubelet.
  if (signal.aborted) await shutdown.stopped;
  process.exit(0);
};

main().catch((err: unknown) => {
  createLogger().error('the store failed', { err });
  process.exit(1);
});
