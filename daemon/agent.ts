/**
 * `fluviad agent`: the network of one node. Imports little, since it runs on every node.
 */
import { PORTS } from '../api/labels.ts';
import { runAgent } from '../network-fabric/agent/run.ts';
import { systemClock } from '../runtime/clock.ts';
import { createKubeClient } from '../runtime/kube/client.ts';
import { loadInCluster } from '../runtime/kube/in-cluster.ts';
import { createLogger } from '../runtime/log.ts';
import { createMetrics, processMetrics } from '../runtime/metrics.ts';
import { installShutdown } from '../runtime/shutdown.ts';
import { required } from './environment.ts';
import { startHealthServer } from './health-server.ts';

const main = async (): Promise<void> => {
  const nodeName = required('NODE_NAME');
  const log = createLogger({ fields: { node: nodeName } });
  const metrics = createMetrics();
  processMetrics(metrics);
  const client = createKubeClient(loadInCluster(), { userAgent: 'fluvia-agent' });
  const shutdown = installShutdown({ log, limitMs: 8000 });
  const { signal } = shutdown;
  shutdown.onStop('client', () => client.close());
  await startHealthServer(
    // the node's loopback: nothing outside the node asks an agent
    { port: PORTS.agentHealth, host: '127.0.0.1', metrics, notReadyBecause: () => undefined },
    signal,
  );
  const running = runAgent({ client, log, metrics, clock: systemClock, nodeName }, signal);
  shutdown.onStop('agent', () => running);
  await running;
  await shutdown.stopped;
  process.exit(0);
};

main().catch((err: unknown) => {
  createLogger().error('the agent failed', { err });
  process.exit(1);
});
