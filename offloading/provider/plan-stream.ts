/** Translates a request of the kubelet's API at home into one of this cluster's API server; drops what isn't known. */
import type { ContainerStreamRequest } from '../../api/link.ts';

export interface StreamTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly container?: string | undefined;
}

export interface PlannedStream {
  readonly method: 'GET' | 'POST';
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

type Query = ContainerStreamRequest['query'];

const MAX_COMMAND = 1000;
const MAX_COMMAND_BYTES = 65_536;
const DIGITS = /^\d{1,15}$/;
const TIME = /^\d{4}-\d{2}-\d{2}T[0-9:.]{8,20}(?:Z|[+-]\d{2}:\d{2})$/;
const BOOLEAN = /^(?:true|false|1|0)$/;

/** Queries of `/log` and what their values look like. */
const LOG_QUERY: Readonly<Record<string, RegExp>> = {
  follow: BOOLEAN,
  previous: BOOLEAN,
  timestamps: BOOLEAN,
  tailLines: DIGITS,
  sinceSeconds: DIGITS,
  sinceTime: TIME,
  limitBytes: DIGITS,
  stream: /^(?:All|Stdout|Stderr)$/,
};

/** Names of streams at the kubelet → at the API server. */
const STREAMS: Readonly<Record<string, string>> = {
  input: 'stdin',
  output: 'stdout',
  error: 'stderr',
  tty: 'tty',
};

/** Upgrade headers that pass. */
const HEADERS = new Set([
  'upgrade',
  'connection',
  'x-stream-protocol-version',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
]);

const first = (query: Query, name: string): string | undefined =>
  Object.hasOwn(query, name) ? query[name]?.[0] : undefined;

const isTrue = (value: string | undefined): boolean => value === 'true' || value === '1';

const logQuery = (query: Query): [string, string][] =>
  Object.entries(LOG_QUERY).flatMap(([name, pattern]): [string, string][] => {
    const value = first(query, name);
    return value !== undefined && pattern.test(value) ? [[name, value]] : [];
  });

const streamQuery = (query: Query): [string, string][] =>
  Object.entries(STREAMS).flatMap(([there, here]): [string, string][] =>
    // The kubelet's names, and the API server's where a client sends those.
    isTrue(first(query, there)) || isTrue(first(query, here)) ? [[here, 'true']] : [],
  );

const commandQuery = (query: Query): [string, string][] => {
  const command = (Object.hasOwn(query, 'command') ? (query['command'] ?? []) : []).slice(0, MAX_COMMAND);
  const bytes = command.reduce((sum, word) => sum + word.length, 0);
  return bytes > MAX_COMMAND_BYTES ? [] : command.map((word) => ['command', word]);
};

const portQuery = (query: Query): [string, string][] => {
  const ports = ['port', 'ports']
    .flatMap((name) => (Object.hasOwn(query, name) ? (query[name] ?? []) : []))
    .flatMap((value) => value.split(','))
    .filter((value) => /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65535);
  return ports.slice(0, 64).map((value) => ['ports', value]);
};

const headersOf = (headers: ContainerStreamRequest['headers']): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers)
      .map(([name, value]): [string, string] => [name.toLowerCase(), value])
      .filter(([name, value]) => HEADERS.has(name) && value.length <= 1024 && /^[\x20-\x7e]*$/.test(value)),
  );

const encode = (pairs: readonly (readonly [string, string])[]): string =>
  pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');

/** The request to this cluster's API server. The target has been checked; nothing of the path is the peer's word. */
export const planStream = (request: ContainerStreamRequest, target: StreamTarget): PlannedStream => {
  const base = `/api/v1/namespaces/${encodeURIComponent(target.namespace)}/pods/${encodeURIComponent(target.pod)}`;
  const container: [string, string][] =
    target.container === undefined ? [] : [['container', target.container]];
  if (request.verb === 'logs') {
    return {
      method: 'GET',
      path: `${base}/log?${encode([...container, ...logQuery(request.query)])}`,
      headers: {},
    };
  }
  const headers = headersOf(request.headers);
  // The API server takes WebSockets by GET and SPDY by POST (kubernetes: pkg/registry/core/pod/rest/subresources.go).
  const method = headers['upgrade']?.toLowerCase() === 'websocket' ? 'GET' : 'POST';
  const { query } = request;
  if (request.verb === 'portForward') {
    return { method, path: `${base}/portforward?${encode(portQuery(query))}`, headers };
  }
  const command = request.verb === 'exec' ? commandQuery(query) : [];
  const path = `${base}/${request.verb}?${encode([...container, ...streamQuery(query), ...command])}`;
  return { method, path, headers };
};
