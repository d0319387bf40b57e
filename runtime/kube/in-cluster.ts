/** Access from inside a pod, by its ServiceAccount. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import { systemClock, type Clock } from '../clock.ts';
import type { ClusterAccess } from './access.ts';

const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The kubelet renews the token at 80 % of its life, so a minute is early enough. */
const rereadMs = 60_000;

export interface InClusterOptions {
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly mountPath?: string | undefined;
  readonly clock?: Clock | undefined;
}

/** tokenFromFile reads a bearer token and reads it again every 60 s; while that fails the last one is used. */
export const tokenFromFile = (path: string, clock: Clock = systemClock): (() => Promise<string>) => {
  let token: string | undefined;
  let readAt = -Infinity;
  return async () => {
    if (token !== undefined && clock.monotonicMs() - readAt < rereadMs) return token;
    try {
      token = (await readFile(path, 'utf8')).trim();
      readAt = clock.monotonicMs();
    } catch (error) {
      if (token === undefined) throw error;
    }
    return token;
  };
};

/**
 * loadInCluster reads what the kubelet mounted.
 * @throws {FluviaError} NOT_FOUND outside a pod, or without a mounted ServiceAccount.
 */
export const loadInCluster = (options: InClusterOptions = {}): ClusterAccess => {
  const { env = process.env, mountPath: folder = mountPath } = options;
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT_HTTPS'] ?? env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (!host) {
    throw new FluviaError(ERROR_CODES.NOT_FOUND, 'KUBERNETES_SERVICE_HOST is not set: this is not a pod', {
      kind: 'terminal',
      hint: 'Run it in a cluster, or give it a kubeconfig.',
    });
  }
  try {
    return {
      server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
      ca: readFileSync(join(folder, 'ca.crt'), 'utf8'),
      token: tokenFromFile(join(folder, 'token'), options.clock),
      namespace: readFileSync(join(folder, 'namespace'), 'utf8').trim(),
    };
  } catch (error) {
    throw new FluviaError(
      ERROR_CODES.NOT_FOUND,
      `the pod has no ServiceAccount mounted: ${messageOf(error)}`,
      {
        kind: 'terminal',
        hint: 'Set automountServiceAccountToken: true in the pod.',
        cause: error,
      },
    );
  }
};
