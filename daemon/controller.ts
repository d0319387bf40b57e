/**
 * `fluviad controller`: two replicas serve admission; the one that holds the Lease runs peering, network and offloading.
 * Only wiring: what is made here is given to the capabilities, which know nothing of each other.
 */
import { NAMES, PORTS, SYSTEM_NAMESPACE } from '../api/labels.ts';
import { startNetworkControllers } from '../network-fabric/start.ts';
import { startConsumer } from '../offloading/consumer/start.ts';
import { startProvider } from '../offloading/provider/start.ts';
import { startWebhook } from '../offloading/webhook/start.ts';
import { startPeering } from '../peering/start.ts';
import { startStorage } from '../storage-fabric/start.ts';
import { systemClock } from '../runtime/clock.ts';
import { beginAnew } from '../runtime/begin-anew.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { createKubeClient } from '../runtime/kube/client.ts';
import { createEventRecorder } from '../runtime/kube/events.ts';
import { loadInCluster } from '../runtime/kube/in-cluster.ts';
import { createInformerFactory } from '../runtime/kube/informer-factory.ts';
import { runLeaderElection, type LeaderTerm } from '../runtime/kube/leader-election.ts';
import { createLogger } from '../runtime/log.ts';
import { createMetrics, processMetrics } from '../runtime/metrics.ts';
import { installShutdown } from '../runtime/shutdown.ts';
import { required } from './environment.ts';
import { startHealthServer } from './health-server.ts';

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

const main = async (): Promise<void> => {
  const podName = required('POD_NAME');
  const podIP = required('POD_IP');
  const clusterName = required('FLUVIA_CLUSTER_NAME');
  const log = createLogger({ fields: { cluster: clusterName, pod: podName } });
  const metrics = createMetrics();
  processMetrics(metrics);
  const client = createKubeClient(loadInCluster(), { userAgent: 'fluvia-controller' });
  const shutdown = installShutdown({ log });
  const { signal } = shutdown;
  shutdown.onStop('client', () => client.close());
  const clock = systemClock;

  let waitingFor: string | undefined = 'the admission webhook does not listen yet';
  await startHealthServer({ port: PORTS.metrics, metrics, notReadyBecause: () => waitingFor }, signal);
  const admitting = startWebhook(
    { client, log, clock, port: PORTS.webhook, systemNamespace: SYSTEM_NAMESPACE },
    signal,
  ).then(() => {
    waitingFor = undefined;
  });

  const lead = async (term: LeaderTerm): Promise<void> => {
    const events = createEventRecorder({
      client,
      controller: 'fluvia.dev/controller',
      instance: podName,
      log,
    });
    const deps: ControllerDeps = {
      client,
      informers: createInformerFactory(client, term.signal, { log, metrics }),
      clock,
      log,
      metrics,
      events,
      clusterName,
      systemNamespace: SYSTEM_NAMESPACE,
      podName,
      podIP,
      leaderTransitions: term.transitions,
      isLeading: term.isHeld,
      ...(process.env['FLUVIA_IMAGE'] === undefined ? {} : { image: process.env['FLUVIA_IMAGE'] }),
    };
    const { links, clusterID, stopped } = await startPeering(
      deps,
      { listenPort: PORTS.peering },
      term.signal,
    );
    await startNetworkControllers(deps, links, clusterID, term.signal);
    await startConsumer(deps, links, clusterID, term.signal);
    await startProvider(deps, links, clusterID, term.signal);
    await startStorage(deps, links, clusterID, term.signal);
    log.info('leading', { transitions: term.transitions });
    await untilAborted(term.signal);
    await Promise.all([events.flush(), stopped]);
  };

  const election = runLeaderElection({
    client,
    namespace: SYSTEM_NAMESPACE,
    name: NAMES.leaderLease,
    identity: `${podName}_${process.env['POD_UID'] ?? ''}`,
    lead,
    signal,
    log,
    metrics,
  });
  // the Lease is released before the client closes
  shutdown.onStop('leadership', () => election.then(() => undefined));
  const end = await Promise.race([election, admitting.then(() => election)]);
  if (end !== 'stopped') {
    // state in memory belongs to the lost term
    beginAnew(log, `the Lease of the leader is ${end}: standing by with nothing in memory`);
  }
  await shutdown.stopped;
  process.exit(0);
};

main().catch((err: unknown) => {
  createLogger().error('the controller failed', { err });
  process.exit(1);
});
