/**
 * One reusable connection to the API server: an HTTP/2 session that reconnects by itself, is probed by pings, and falls back
 * to a small HTTP/1.1 pool where the server (or a proxy before it) speaks no HTTP/2.
 */
import { request as httpRequest, Agent as HttpAgent } from 'node:http';
import {
  connect as http2Connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { request as httpsRequest, Agent as HttpsAgent } from 'node:https';
import { isIP } from 'node:net';
import type { Readable } from 'node:stream';
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls';

import type { ClusterAccess } from './access.ts';
import { unlessAborted } from './deadline.ts';
import { ApiError } from './errors.ts';

const connectTimeoutMs = 10_000;
const pingPeriodMs = 15_000;
const pingTimeoutMs = 10_000;
const streamWindowBytes = 256 * 1024;
const sessionWindowBytes = 8 * 1024 * 1024;

export interface TransportRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TransportResponse {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: Readable;
}

export interface Transport {
  /** Resolves with the response's head. Rejects with ApiError of status 0; the signal's reason when that aborted. */
  send(request: TransportRequest): Promise<TransportResponse>;
  close(): Promise<void>;
}

/** NotSentError says that the server surely has not acted on the request, so any method may be tried again. */
class NotSentError extends Error {
  override readonly name = 'NotSentError';
}

/** DialError says that no connection could be made. */
class DialError extends Error {
  override readonly name = 'DialError';
}

const describe = (error: Error): string =>
  error.message || ('code' in error ? String(error.code) : error.name);

/** tlsOptions are what every TLS connection to the server is made with. */
export const tlsOptions = (access: ClusterAccess, protocols: readonly string[]): ConnectionOptions => {
  const host = access.server.hostname.replace(/^\[|\]$/g, '');
  const servername = access.serverName ?? (isIP(host) ? undefined : host);
  return {
    host,
    port: Number(access.server.port || 443),
    ALPNProtocols: [...protocols],
    rejectUnauthorized: access.insecure !== true,
    ...(servername === undefined ? {} : { servername }),
    ...(access.ca === undefined ? {} : { ca: access.ca }),
    ...(access.cert === undefined ? {} : { cert: access.cert }),
    ...(access.key === undefined ? {} : { key: access.key }),
  };
};

const unreachable = (access: ClusterAccess, request: TransportRequest, cause: unknown): ApiError => {
  const why = cause instanceof Error ? describe(cause) : String(cause);
  return new ApiError({
    status: 0,
    reason: 'Unreachable',
    message: `${request.method} ${request.path.split('?')[0]}: API server ${access.server.host}: ${why}`,
    cause,
  });
};

const dial = (access: ClusterAccess): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = tlsConnect(tlsOptions(access, ['h2', 'http/1.1']));
    const timer = setTimeout(() => socket.destroy(new Error('connecting timed out')), connectTimeoutMs);
    socket.setNoDelay(true);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.removeListener('error', reject);
      resolve(socket);
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });

/** Destroys the session when a ping isn't answered, so that a silent network break is seen within 25 s. */
const keepProbing = (session: ClientHttp2Session): void => {
  const timer = setInterval(() => {
    if (session.destroyed || session.closed) return;
    const overdue = setTimeout(
      () => session.destroy(new Error('API server did not answer a ping')),
      pingTimeoutMs,
    );
    overdue.unref();
    const sent = session.ping(() => clearTimeout(overdue));
    if (!sent) clearTimeout(overdue);
  }, pingPeriodMs);
  timer.unref();
  session.once('close', () => clearInterval(timer));
};

const openSession = (access: ClusterAccess, socket: TLSSocket): ClientHttp2Session => {
  const session = http2Connect(access.server.origin, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: streamWindowBytes },
    maxSessionMemory: 64,
  });
  session.once('connect', () => session.setLocalWindowSize(sessionWindowBytes));
  // Every stream reports the failure to its own caller; without a listener the error would end the process.
  session.on('error', () => {});
  keepProbing(session);
  return session;
};

const openStream = (session: ClientHttp2Session, request: TransportRequest): ClientHttp2Stream => {
  try {
    return session.request(
      { ...request.headers, ':method': request.method, ':path': request.path },
      { endStream: request.body === undefined },
    );
  } catch (error) {
    throw new NotSentError('the connection was closing', { cause: error });
  }
};

const sendByHttp2 = (session: ClientHttp2Session, request: TransportRequest): Promise<TransportResponse> =>
  new Promise((resolve, reject) => {
    if (session.closed || session.destroyed) {
      reject(new NotSentError('the connection was closing'));
      return;
    }
    const stream = openStream(session, request);
    const abort = (): void => stream.close(constants.NGHTTP2_CANCEL);
    let answered = false;
    let failure: Error | undefined;
    stream.on('error', (error) => (failure ??= error));
    stream.once('response', (headers) => {
      answered = true;
      resolve({
        status: Number(headers[':status']),
        header: (name) => {
          const value = headers[name];
          return Array.isArray(value) ? value[0] : value;
        },
        body: stream,
      });
    });
    stream.once('close', () => {
      request.signal?.removeEventListener('abort', abort);
      if (answered) return;
      if (request.signal?.aborted) reject(request.signal.reason as Error);
      else if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || stream.id === undefined) {
        reject(new NotSentError('the server refused the stream'));
      } else reject(failure ?? new Error('the connection was closed before an answer came'));
    });
    request.signal?.addEventListener('abort', abort, { once: true });
    if (request.signal?.aborted) abort();
    else if (request.body !== undefined) stream.end(request.body);
  });

const sendByHttp1 = (
  access: ClusterAccess,
  agent: HttpAgent | HttpsAgent,
  request: TransportRequest,
): Promise<TransportResponse> =>
  new Promise((resolve, reject) => {
    const secure = access.server.protocol === 'https:';
    const outgoing = (secure ? httpsRequest : httpRequest)({
      ...(secure
        ? tlsOptions(access, ['http/1.1'])
        : { host: access.server.hostname, port: access.server.port || 80 }),
      agent,
      method: request.method,
      path: request.path,
      headers: request.headers,
      ...(request.signal ? { signal: request.signal } : {}),
    });
    outgoing.once('response', (incoming) =>
      resolve({
        status: incoming.statusCode ?? 0,
        header: (name) => {
          const value = incoming.headers[name];
          return Array.isArray(value) ? value[0] : value;
        },
        body: incoming,
      }),
    );
    outgoing.once('error', (error) =>
      reject(request.signal?.aborted ? (request.signal.reason as Error) : error),
    );
    outgoing.end(request.body);
  });

type Link =
  | { readonly kind: 'http2'; readonly session: ClientHttp2Session }
  | { readonly kind: 'http1'; readonly agent: HttpAgent | HttpsAgent };

const alive = (link: Link): boolean =>
  link.kind === 'http1' || !(link.session.closed || link.session.destroyed);

const closeLink = (link: Link): Promise<void> =>
  new Promise((resolve) => {
    if (link.kind === 'http1') {
      link.agent.destroy();
      resolve();
      return;
    }
    if (link.session.destroyed) {
      resolve();
      return;
    }
    link.session.once('close', resolve);
    link.session.destroy();
  });

const openLink = async (access: ClusterAccess): Promise<Link> => {
  if (access.server.protocol === 'http:')
    return { kind: 'http1', agent: new HttpAgent({ keepAlive: true, maxSockets: 8 }) };
  const socket = await dial(access);
  if (socket.alpnProtocol === 'h2') return { kind: 'http2', session: openSession(access, socket) };
  socket.destroy();
  return { kind: 'http1', agent: new HttpsAgent({ keepAlive: true, maxSockets: 100, maxFreeSockets: 2 }) };
};

/** createTransport makes a transport; it connects at the first request. */
export const createTransport = (access: ClusterAccess): Transport => {
  let link: Promise<Link> | undefined;
  let closed = false;

  const currentLink = async (): Promise<Link> => {
    for (;;) {
      if (closed) throw new DialError('the client is closed');
      const opening = (link ??= openLink(access));
      try {
        const opened = await opening;
        if (alive(opened)) return opened;
      } catch (error) {
        if (link === opening) link = undefined;
        throw new DialError(error instanceof Error ? describe(error) : String(error), { cause: error });
      }
      if (link === opening) link = undefined;
    }
  };

  const attempt = async (request: TransportRequest): Promise<TransportResponse> => {
    const chosen = await unlessAborted(currentLink(), request.signal);
    return chosen.kind === 'http2'
      ? sendByHttp2(chosen.session, request)
      : sendByHttp1(access, chosen.agent, request);
  };

  return {
    send: async (request) => {
      for (let tries = 1; ; tries += 1) {
        try {
          return await attempt(request);
        } catch (error) {
          request.signal?.throwIfAborted();
          const mayRetry =
            error instanceof NotSentError || (request.method === 'GET' && !(error instanceof DialError));
          if (tries > 1 || !mayRetry) throw unreachable(access, request, error);
        }
      }
    },
    close: async () => {
      closed = true;
      const known = await link?.catch(() => undefined);
      if (known) await closeLink(known);
    },
  };
};

/**
 * createSpreadTransport opens a further connection for every `streams` responses that are open at once: API servers allow 100
 * per connection, and a watch beyond that would wait in silence for another to end.
 */
export const createSpreadTransport = (access: ClusterAccess, streams: number): Transport => {
  const lanes: { readonly transport: Transport; open: number }[] = [];
  let closed = false;
  const laneWithRoom = (): (typeof lanes)[number] => {
    const free = lanes.find((lane) => lane.open < streams);
    if (free) return free;
    const lane = { transport: createTransport(access), open: 0 };
    lanes.push(lane);
    return lane;
  };
  return {
    send: async (request) => {
      if (closed) throw unreachable(access, request, new DialError('the client is closed'));
      const lane = laneWithRoom();
      lane.open += 1;
      const leave = (): void => {
        lane.open -= 1;
        if (lane.open > 0 || lanes.length === 1) return;
        lanes.splice(lanes.indexOf(lane), 1);
        void lane.transport.close();
      };
      try {
        const response = await lane.transport.send(request);
        response.body.once('close', leave);
        return response;
      } catch (error) {
        leave();
        throw error;
      }
    },
    close: async () => {
      closed = true;
      await Promise.all(lanes.map((lane) => lane.transport.close()));
    },
  };
};

/** readText reads a whole body as UTF-8. */
export const readText = async (body: Readable): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return chunks.length === 1 && chunks[0] ? chunks[0].toString() : Buffer.concat(chunks).toString();
};
