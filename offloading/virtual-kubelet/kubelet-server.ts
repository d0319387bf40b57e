import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import type { ContainerStreamResponse, Links } from '../../api/link.ts';
import type { Logger } from '../../runtime/log.ts';
import { keyFor } from '../../runtime/kube/types.ts';
import type { Home } from '../consumer/home.ts';
import { accessOf, type KubeletAuth } from './kubelet-auth.ts';
import { resourceMetrics, statsSummary } from './kubelet-stats.ts';
import { parseContainerPath, queryOf, upgradeHeaders, whyNotReachable } from './plan-request.ts';

export interface KubeletHandlerOptions {
  readonly home: Home;
  readonly links: Links;
  readonly auth: KubeletAuth;
  readonly log: Logger;
}

/** The kubelet API of one virtual node. */
export interface KubeletHandler {
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
}

/** An answer that ends the request early. */
interface Refusal {
  readonly status: number;
  readonly message: string;
}

const REASONS: Readonly<Record<number, string>> = {
  101: 'Switching Protocols',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};

const statusOf = (error: unknown): number => {
  if (!(error instanceof FluviaError)) return 502;
  if (error.code === ERROR_CODES.LINK_DOWN || error.code === ERROR_CODES.TIMEOUT) return 503;
  if (error.code === ERROR_CODES.NOT_FOUND) return 404;
  if (error.code === ERROR_CODES.FORBIDDEN) return 403;
  return error.code === ERROR_CODES.BAD_INPUT ? 400 : 502;
};

const urlOf = (request: IncomingMessage): URL => new URL(request.url ?? '/', 'https://kubelet');

/** Hop-by-hop headers are this connection's own; the rest of the provider's answer passes. */
const passing = (headers: Readonly<Record<string, string>>): [string, string][] =>
  Object.entries(headers).filter(
    ([name, value]) =>
      /^[a-z0-9-]+$/i.test(name) &&
      !/[\r\n]/.test(value) &&
      !/^(?:transfer-encoding|content-length|keep-alive|date|set-cookie)$/i.test(name),
  );

const writeRaw = (socket: Duplex, status: number, headers: readonly [string, string][], body = ''): void => {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`HTTP/1.1 ${status} ${REASONS[status] ?? 'Status'}\r\n${lines}\r\n${body}`);
};

const refuseRaw = (socket: Duplex, { status, message }: Refusal): void => {
  const body = `${message}\n`;
  writeRaw(
    socket,
    status,
    [
      ['Content-Type', 'text/plain; charset=utf-8'],
      ['Content-Length', String(Buffer.byteLength(body))],
      ['Connection', 'close'],
    ],
    body,
  );
  socket.end();
};

/** Makes the handler of node `node`. */
export const createKubeletHandler = (options: KubeletHandlerOptions, node: string): KubeletHandler => {
  const { home, links, auth } = options;
  const log = options.log.child({ controller: 'offloading.kubelet', key: node });

  const authorise = async (request: IncomingMessage, path: string): Promise<Refusal | undefined> => {
    const result = await auth.check(request, node, accessOf(request.method ?? '', path));
    return result.status === 200 ? undefined : result;
  };

  /** Opens the stream at the provider; a Refusal when it may or can not be. */
  const open = async (
    request: IncomingMessage,
    url: URL,
    signal: AbortSignal,
  ): Promise<ContainerStreamResponse | Refusal> => {
    const path = parseContainerPath(url.pathname);
    if (path === undefined) return { status: 404, message: `no such path: ${url.pathname}` };
    const pod = home.pods.getByKey(keyFor(path.namespace, path.pod));
    const reason = whyNotReachable(path, pod, node);
    if (reason !== undefined || pod === undefined) return reason ?? { status: 404, message: 'no such pod' };
    const peer = home.virtualNodes.get(undefined, node)?.spec.peer;
    const link = peer === undefined ? undefined : links.get(peer);
    if (link === undefined || !link.isUp()) {
      return {
        status: 503,
        message: `peer ${peer ?? '?'} is not reachable now; the pod keeps running there`,
      };
    }
    try {
      return await link.openContainerStream(
        {
          verb: path.verb,
          namespace: path.namespace,
          pod: path.pod,
          podUID: pod.metadata.uid ?? '',
          ...(path.container === undefined ? {} : { container: path.container }),
          query: queryOf(url.searchParams),
          headers: upgradeHeaders(request.headers),
        },
        signal,
      );
    } catch (error) {
      return { status: statusOf(error), message: messageOf(error) };
    }
  };

  const respond = (response: ServerResponse, status: number, type: string, body: string): void => {
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
    response.end(body);
  };
  const plain = 'text/plain; charset=utf-8';

  const stream = async (request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> => {
    const abort = new AbortController();
    response.once('close', () => abort.abort());
    const opened = await open(request, url, abort.signal);
    if (!('body' in opened)) return respond(response, opened.status, plain, `${opened.message}\n`);
    response.writeHead(opened.status, passing(opened.headers).flat());
    // Each chunk goes out at once (no Nagle, no buffering), the head before the first of them: `logs -f`.
    response.flushHeaders();
    await new Promise<void>((resolve) => {
      pipeline(opened.body, response, () => {
        opened.body.destroy();
        resolve();
      });
    });
  };

  return {
    handle: async (request, response) => {
      const url = urlOf(request);
      const refusal = await authorise(request, url.pathname);
      if (refusal !== undefined) return respond(response, refusal.status, plain, `${refusal.message}\n`);
      const isRead = request.method === 'GET' || request.method === 'HEAD';
      const pods = home.podsOn(node);
      const virtualNode = home.nodes.get(undefined, node);
      if (isRead && url.pathname === '/healthz') return respond(response, 200, plain, 'ok');
      if (isRead && url.pathname === '/pods') {
        const body = { apiVersion: 'v1', kind: 'PodList', metadata: {}, items: pods };
        return respond(response, 200, 'application/json', JSON.stringify(body));
      }
      if (isRead && url.pathname === '/stats/summary' && virtualNode !== undefined) {
        return respond(response, 200, 'application/json', JSON.stringify(statsSummary(virtualNode, pods)));
      }
      if (isRead && url.pathname === '/metrics/resource') {
        return respond(response, 200, 'text/plain; version=0.0.4', resourceMetrics(pods));
      }
      if (isRead && url.pathname.startsWith('/containerLogs/')) return stream(request, response, url);
      const isStream = /^\/(?:exec|attach|portForward)\//.test(url.pathname);
      return isStream
        ? respond(response, 400, plain, 'this needs an upgraded connection (SPDY or WebSocket)\n')
        : respond(response, 404, plain, 'not found\n');
    },

    upgrade: async (request, socket, head) => {
      const url = urlOf(request);
      socket.on('error', (err) => log.debug('client connection failed', { err }));
      const refusal = await authorise(request, url.pathname);
      if (refusal !== undefined) return refuseRaw(socket, refusal);
      if (!/^\/(?:exec|attach|portForward)\//.test(url.pathname)) {
        return refuseRaw(socket, { status: 400, message: 'this path has no upgrade' });
      }
      const abort = new AbortController();
      socket.once('close', () => abort.abort());
      const opened = await open(request, url, abort.signal);
      if (!('body' in opened)) return refuseRaw(socket, opened);
      writeRaw(socket, opened.status, passing(opened.headers));
      if (head.length > 0) opened.body.write(head);
      const end = (): void => {
        socket.destroy();
        opened.body.destroy();
      };
      opened.body.once('error', end);
      opened.body.once('close', () => socket.end());
      socket.once('close', () => opened.body.destroy());
      opened.body.pipe(socket);
      socket.pipe(opened.body);
    },
  };
};
