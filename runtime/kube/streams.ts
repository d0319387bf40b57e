/** HTTP/1.1 connections of their own: byte streams (logs) and upgrades (exec, attach, port-forward). */
import { request as httpRequest, type ClientRequest, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';

import type { ClusterAccess } from './access.ts';
import type { Method, RawOptions, RawResponse, Upgraded } from './client.ts';
import { ApiError, errorFromResponse } from './errors.ts';
import { readText, tlsOptions } from './transport.ts';

const answerTimeoutMs = 30_000;

interface Ask {
  readonly method: Method;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly signal?: AbortSignal | undefined;
}

const open = (access: ClusterAccess, ask: Ask): ClientRequest => {
  const secure = access.server.protocol === 'https:';
  return (secure ? httpsRequest : httpRequest)({
    ...(secure
      ? tlsOptions(access, ['http/1.1'])
      : { host: access.server.hostname, port: access.server.port || 80 }),
    agent: false,
    method: ask.method,
    path: ask.path,
    headers: ask.headers,
    ...(ask.signal ? { signal: ask.signal } : {}),
  });
};

const failed = (access: ClusterAccess, ask: Ask, error: Error): Error => {
  if (ask.signal?.aborted) return ask.signal.reason as Error;
  return new ApiError({
    status: 0,
    reason: 'Unreachable',
    message: `${ask.method} ${ask.path.split('?')[0]}: API server ${access.server.host}: ${error.message}`,
    cause: error,
  });
};

const limitWait = (request: ClientRequest): (() => void) => {
  const timer = setTimeout(() => request.destroy(new Error('no answer in 30 s')), answerTimeoutMs);
  return () => clearTimeout(timer);
};

/** openRaw sends one request and hands out its response as a stream. */
export const openRaw = (
  access: ClusterAccess,
  method: Method,
  path: string,
  options: RawOptions,
): Promise<RawResponse> =>
  new Promise((resolve, reject) => {
    const ask: Ask = { method, path, headers: options.headers ?? {}, signal: options.signal };
    const request = open(access, ask);
    const answered = limitWait(request);
    request.once('response', (response) => {
      answered();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response });
    });
    // Stays: an abort after the answer is reported here as well as on the body.
    request.on('error', (error) => {
      answered();
      reject(failed(access, ask, error));
    });
    request.end(options.body);
  });

/** openUpgrade sends an upgrade request; only the answer 101 resolves. */
export const openUpgrade = (
  access: ClusterAccess,
  method: Method,
  path: string,
  headers: OutgoingHttpHeaders,
  signal?: AbortSignal,
): Promise<Upgraded> =>
  new Promise((resolve, reject) => {
    const ask: Ask = { method, path, headers, signal };
    const request = open(access, ask);
    const answered = limitWait(request);
    request.once('upgrade', (response, socket, head) => {
      answered();
      if ('setNoDelay' in socket && typeof socket.setNoDelay === 'function') socket.setNoDelay(true);
      resolve({ status: response.statusCode ?? 101, headers: response.headers, socket, head });
    });
    request.once('response', (response) => {
      answered();
      readText(response).then(
        (body) =>
          reject(errorFromResponse(`${method} ${path.split('?')[0]}`, response.statusCode ?? 0, body)),
        (error: Error) => reject(failed(access, ask, error)),
      );
    });
    request.on('error', (error) => {
      answered();
      reject(failed(access, ask, error));
    });
    request.end();
  });
