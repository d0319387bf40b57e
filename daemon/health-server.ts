import { createServer, type Server } from 'node:http';
import type { Metrics } from '../runtime/metrics.ts';

/** Options of {@link startHealthServer}. */
export interface HealthServerOptions {
  readonly port: number;
  /** Address to listen on; all when missing. */
  readonly host?: string;
  readonly metrics: Metrics;
  /** Why the process is not ready yet; undefined once it is. */
  readonly notReadyBecause: () => string | undefined;
}

/**
 * Serves `/healthz` (the event loop turns), `/readyz` and `/metrics` over plain HTTP until `signal` aborts; no secrets,
 * no writes. Resolves once it listens; rejects when the port is taken.
 */
export const startHealthServer = async (
  options: HealthServerOptions,
  signal: AbortSignal,
): Promise<Server> => {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type }).end(body);
    };
    if (request.method !== 'GET') {
      answer(405, 'only GET\n');
    } else if (path === '/healthz') {
      answer(200, 'ok\n');
    } else if (path === '/readyz') {
      const reason = options.notReadyBecause();
      answer(reason === undefined ? 200 : 503, `${reason ?? 'ok'}\n`);
    } else if (path === '/metrics') {
      answer(200, options.metrics.text(), 'text/plain; version=0.0.4; charset=utf-8');
    } else {
      answer(404, 'not found\n');
    }
  });
  server.headersTimeout = 5000;
  server.requestTimeout = 10_000;
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) {
    stop();
  }
  signal.addEventListener('abort', stop, { once: true });
  return server;
};
