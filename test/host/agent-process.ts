/**
 * An agent in a node of the lab: `node agent-process.ts NODE ACCESS.json API.sock`. The API server listens on the machine's
 * loopback, which the node's network can't reach; a socket file crosses over.
 */
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { runAgent } from '../../network-fabric/agent/run.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createKubeClient } from '../../runtime/kube/client.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';

const [nodeName = '', accessFile = '', socket = ''] = process.argv.slice(2);
const access = JSON.parse(readFileSync(accessFile, 'utf8')) as { ca: string; cert: string; key: string };

const relay = createServer((near) => {
  const far = connect(socket);
  near.pipe(far).pipe(near);
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
});
relay.listen(0, '127.0.0.1', () => {
  const address = relay.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const client = createKubeClient({ ...access, server: new URL(`https://127.0.0.1:${port}`) });
  const log = createLogger({ fields: { node: nodeName } });
  setInterval(
    () => log.info('memory', { rssMiB: Math.round(process.memoryUsage().rss / 2 ** 20) }),
    10_000,
  ).unref();
  const options = {
    nodeName,
    client,
    clock: systemClock,
    log,
    metrics: createMetrics(),
    sysctlRoot: '/proc/sys/net',
  };
  runAgent(options, new AbortController().signal).catch((err: unknown) => {
    log.error('the agent ended', { err });
    process.exit(1);
  });
});
