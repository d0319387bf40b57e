/**
 * The admission webhook, served by both replicas.
 *
 * RBAC that it needs is in `deploy/manifests/rbac.ts`, its configurations are in `deploy/manifests/services.ts`. Their caBundle
 * is left out there: the leader fills it in, and a re-install must not reset it (apply without the field).
 */
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { createInformer } from '../../runtime/kube/informer.ts';
import { LEASE } from '../../runtime/kube/resources.ts';
import type { Lease } from '../../runtime/kube/types.ts';
import type { Logger } from '../../runtime/log.ts';
import { NAMES } from '../../api/labels.ts';
import { ensureCertificate } from './certificate-store.ts';
import { watchLeader } from './leader-watch.ts';
import { createWebhookServer } from './server.ts';

export interface WebhookOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly clock: Clock;
  /** Usually PORTS.webhook. */
  readonly port: number;
  readonly systemNamespace: string;
}

const CERTIFICATE_CHECK_MS = 3_600_000;
const RETRY_MS = 2000;

const retried = async <T>(
  options: WebhookOptions,
  signal: AbortSignal,
  what: () => Promise<T>,
): Promise<T> => {
  for (;;) {
    try {
      return await what();
    } catch (err) {
      options.log.warn('webhook certificate not available yet', { err });
      await options.clock.sleep(RETRY_MS, signal);
      signal.throwIfAborted();
    }
  }
};

/** Starts the webhook; resolves once it listens. It stops when `signal` aborts. Rejects when the port is taken. */
export const startWebhook = async (options: WebhookOptions, signal: AbortSignal): Promise<void> => {
  const { client, clock, systemNamespace } = options;
  const log = options.log.child({ controller: 'offloading.webhook' });
  const leases = createInformer<Lease>({
    client,
    resource: LEASE,
    namespace: systemNamespace,
    fieldSelector: `metadata.name=${NAMES.leaderLease}`,
  });
  leases.start(signal);
  const leader = watchLeader(leases, clock);
  const load = () => ensureCertificate(client, clock, systemNamespace);
  const certificate = await retried({ ...options, log }, signal, load);
  const server = createWebhookServer({ log, certificate, isLeaderAlive: () => leader.isAlive() });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, resolve);
  });
  log.info('webhook listens', { port: options.port });
  signal.addEventListener('abort', () => {
    server.close();
    server.closeIdleConnections();
  });
  const renew = async (): Promise<void> => {
    let current = certificate;
    while (!signal.aborted) {
      await clock.sleep(CERTIFICATE_CHECK_MS, signal);
      if (signal.aborted) return;
      const next = await load().catch(() => current);
      if (next.serving.cert !== current.serving.cert) server.setSecureContext(next.serving);
      current = next;
    }
  };
  void renew();
};
