/**
 * Access by a kubeconfig, for the CLI only. The common kinds of credentials are read here; exec plugins and auth providers are
 * left to @kubernetes/client-node, which is loaded only then (it costs half a second and 80 MB).
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { parse } from 'yaml';

import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import { systemClock, type Clock } from '../clock.ts';
import type { ClusterAccess } from './access.ts';
import { tokenFromFile } from './in-cluster.ts';

export interface KubeconfigOptions {
  /** A file; default: those of $KUBECONFIG, else ~/.kube/config. */
  readonly path?: string | undefined;
  /** Default: the file's current context. */
  readonly context?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly clock?: Clock | undefined;
}

/** KubeconfigAccess also says where it comes from, for messages. */
export interface KubeconfigAccess extends ClusterAccess {
  readonly source: string;
  readonly context: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** An entry and the folder that its relative paths start from. */
interface Entry {
  readonly fields: Fields;
  readonly folder: string;
}

interface Merged {
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
  readonly contexts: ReadonlyMap<string, Entry>;
  readonly currentContext: string | undefined;
}

const bad = (message: string, hint: string, cause?: unknown): FluviaError =>
  new FluviaError(ERROR_CODES.BAD_INPUT, message, { kind: 'terminal', hint, cause });

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

const readOne = (path: string): Fields => {
  let parsed: unknown;
  try {
    parsed = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw bad(`kubeconfig ${path}: ${messageOf(error)}`, 'Give the path of a readable kubeconfig.', error);
  }
  if (!isFields(parsed))
    throw bad(`kubeconfig ${path}: it is not a kubeconfig`, 'Give the path of a kubeconfig file.');
  return parsed;
};

const filesOf = (
  options: KubeconfigOptions,
): { readonly paths: readonly string[]; readonly explicit: boolean } => {
  if (options.path !== undefined) return { paths: [options.path], explicit: true };
  const listed = ((options.env ?? process.env)['KUBECONFIG'] ?? '')
    .split(delimiter)
    .filter((path) => path !== '');
  return listed.length > 0
    ? { paths: listed, explicit: listed.length === 1 }
    : { paths: [join(homedir(), '.kube', 'config')], explicit: true };
};

/** As kubectl merges: the first file that names something wins, missing ones of several are passed over. */
const readAll = (options: KubeconfigOptions): Merged & { readonly source: string } => {
  const { paths, explicit } = filesOf(options);
  const maps = {
    clusters: new Map<string, Entry>(),
    users: new Map<string, Entry>(),
    contexts: new Map<string, Entry>(),
  };
  let currentContext: string | undefined;
  let read = 0;
  for (const path of paths) {
    let config: Fields;
    try {
      config = readOne(path);
      read += 1;
    } catch (error) {
      const missing =
        error instanceof FluviaError && isFields(error.cause) && error.cause['code'] === 'ENOENT';
      if (explicit || !missing) throw error;
      continue;
    }
    currentContext ??= text(config['current-context']);
    for (const [list, inner] of [
      ['clusters', 'cluster'],
      ['users', 'user'],
      ['contexts', 'context'],
    ] as const) {
      for (const entry of Array.isArray(config[list]) ? (config[list] as unknown[]) : []) {
        const name = isFields(entry) ? text(entry['name']) : undefined;
        if (!isFields(entry) || name === undefined || maps[list].has(name)) continue;
        maps[list].set(name, { fields: isFields(entry[inner]) ? entry[inner] : {}, folder: dirname(path) });
      }
    }
  }
  if (read === 0)
    throw bad(`no kubeconfig in ${paths.join(', ')}`, 'Give one by --kubeconfig or $KUBECONFIG.');
  return { ...maps, currentContext, source: paths.join(delimiter) };
};

const absolute = (entry: Entry, path: string): string => (isAbsolute(path) ? path : join(entry.folder, path));

const pem = (entry: Entry, name: string): string | undefined => {
  const data = text(entry.fields[`${name}-data`]);
  if (data !== undefined) return Buffer.from(data, 'base64').toString();
  const path = text(entry.fields[name]);
  return path === undefined ? undefined : readFileSync(absolute(entry, path), 'utf8');
};

/** What an exec plugin or auth provider gives; asked anew each minute, client-node caches until its expiry. */
const externalCredentials = async (
  user: Fields,
  cluster: Fields,
  clock: Clock,
): Promise<Pick<ClusterAccess, 'cert' | 'key' | 'token'>> => {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  config.loadFromString(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const ask = async (): Promise<{
    readonly cert?: string;
    readonly key?: string;
    readonly token?: string;
  }> => {
    const options: { headers: Record<string, string>; cert?: Buffer; key?: Buffer } = { headers: {} };
    await config.applyToHTTPSOptions(options);
    const header = options.headers['Authorization'];
    return {
      ...(options.cert === undefined ? {} : { cert: options.cert.toString() }),
      ...(options.key === undefined ? {} : { key: options.key.toString() }),
      ...(header?.startsWith('Bearer ') ? { token: header.slice('Bearer '.length) } : {}),
    };
  };
  const first = await ask();
  const certificate = { cert: first.cert, key: first.key };
  if (first.token === undefined) return certificate;
  let { token } = first;
  let askedAt = clock.monotonicMs();
  const newest = async (): Promise<string> => {
    if (clock.monotonicMs() - askedAt < 60_000) return token;
    token = (await ask()).token ?? token;
    askedAt = clock.monotonicMs();
    return token;
  };
  return { ...certificate, token: newest };
};

const credentialsOf = async (user: Entry, cluster: Entry, clock: Clock): Promise<Partial<ClusterAccess>> => {
  const { fields } = user;
  const who = text(fields['as']);
  const groups = Array.isArray(fields['as-groups']) ? fields['as-groups'].map(String) : [];
  const impersonate = who === undefined ? {} : { impersonate: { user: who, groups } };
  if (fields['exec'] !== undefined || fields['auth-provider'] !== undefined) {
    return { ...(await externalCredentials(fields, cluster.fields, clock)), ...impersonate };
  }
  if (fields['username'] !== undefined) {
    throw bad(
      'the kubeconfig has a user name and password, which API servers no longer accept',
      'Use a token or a certificate.',
    );
  }
  const tokenFile = text(fields['tokenFile']);
  const token = text(fields['token']);
  const cert = pem(user, 'client-certificate');
  const key = pem(user, 'client-key');
  return {
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tokenFile !== undefined
      ? { token: tokenFromFile(absolute(user, tokenFile), clock) }
      : token !== undefined
        ? { token: () => Promise.resolve(token) }
        : {}),
    ...impersonate,
  };
};

/**
 * loadKubeconfig reads a context of a kubeconfig.
 * @throws {FluviaError} BAD_INPUT when it is missing, unreadable or incomplete.
 */
export const loadKubeconfig = async (options: KubeconfigOptions = {}): Promise<KubeconfigAccess> => {
  const config = readAll(options);
  const { source } = config;
  const hint = 'Choose another by --context, or repair the kubeconfig.';
  const contextName = options.context ?? config.currentContext;
  if (contextName === undefined) throw bad(`kubeconfig ${source}: it has no current-context`, hint);
  const context = config.contexts.get(contextName);
  if (!context) throw bad(`kubeconfig ${source}: there is no context "${contextName}"`, hint);
  const cluster = config.clusters.get(text(context.fields['cluster']) ?? '');
  if (!cluster) throw bad(`kubeconfig ${source}: the cluster of context "${contextName}" is missing`, hint);
  const user = config.users.get(text(context.fields['user']) ?? '') ?? { fields: {}, folder: '.' };
  if (text(cluster.fields['proxy-url']) !== undefined) {
    throw bad(
      `kubeconfig ${source}: proxy-url is not supported`,
      'Reach the API server directly, or through a tunnel.',
    );
  }
  try {
    return {
      server: new URL(text(cluster.fields['server']) ?? ''),
      ca: pem(cluster, 'certificate-authority'),
      insecure: cluster.fields['insecure-skip-tls-verify'] === true,
      serverName: text(cluster.fields['tls-server-name']),
      namespace: text(context.fields['namespace']) ?? 'default',
      ...(await credentialsOf(user, cluster, options.clock ?? systemClock)),
      source,
      context: contextName,
    };
  } catch (error) {
    if (error instanceof FluviaError) throw error;
    throw bad(`kubeconfig ${source}: context "${contextName}": ${messageOf(error)}`, hint, error);
  }
};
