/** The front's TLS listener, with limits that a slow or greedy client runs into. */
import { createServer, type Server } from 'node:https';
import type { RequestHandler } from './rest-server.ts';

/** Certificate and key, PEM. */
export interface ServerKeys {
  readonly cert: string;
  readonly key: string;
}

export interface ListenOptions {
  readonly port: number;
  readonly host?: string;
  readonly keys: ServerKeys;
}

const HEADERS_MS = 10_000;
/** A pack has at most 128 MiB: 15 minutes are 150 KB/s. */
const REQUEST_MS = 900_000;
const IDLE_MS = 60_000;
const MAX_CONNECTIONS = 512;

/** Listens until `signal` aborts. `server.setSecureContext` takes renewed keys. Rejects when the port is taken. */
export const listenStore = async (
  handler: RequestHandler,
  { port, host, keys }: ListenOptions,
  signal: AbortSignal,
): Promise<Server> => {
  const server = createServer(
    {
      ...keys,
      minVersion: 'TLSv1.3',
      handshakeTimeout: HEADERS_MS,
      connectionsCheckingInterval: 5000,
      maxHeaderSize: 8192,
    },
    handler,
  );
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  server.keepAliveTimeout = IDLE_MS;
  server.timeout = IDLE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  return server;
};
