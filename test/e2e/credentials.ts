import { X509Certificate } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import type { Testbed } from '../testbed/testbed.ts';

interface SecretList {
  readonly items: readonly {
    readonly kind: string;
    readonly metadata: { readonly namespace?: string; readonly name: string };
    readonly data?: Readonly<Record<string, string>>;
  }[];
}

/** A bearer token or a certificate with its key. */
interface Credential {
  readonly headers?: Readonly<Record<string, string>>;
  readonly cert?: string;
  readonly key?: string;
}

/** HTTP status that a server answers to a request for its own identity (`SelfSubjectReview`); 0 when TLS refuses. */
const ask = (server: string, { headers, ...identity }: Credential): Promise<number> =>
  new Promise((resolve) => {
    const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' });
    const request = httpsRequest(`${server}/apis/authentication.k8s.io/v1/selfsubjectreviews`, {
      method: 'POST',
      rejectUnauthorized: false,
      agent: false,
      ...identity,
      headers: { 'content-type': 'application/json', ...headers },
    });
    request.once('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once('error', () => resolve(0));
    request.end(body);
  });

const decode = (value: string): string => Buffer.from(value, 'base64').toString('utf8');
const TOKEN = /eyJ[\w-]+\.[\w-]+\.[\w-]+/g;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN (?:EC |RSA )?PRIVATE KEY-----[\s\S]+?-----END (?:EC |RSA )?PRIVATE KEY-----/g;

/**
 * Tries everything in any Secret or ConfigMap of each cluster that could be a credential (bearer tokens; certificates with
 * keys) against the API servers of all the others. Returns what was accepted: it must be nothing. Throws when the probe itself
 * can't tell an accepted credential from a refused one.
 */
export const foreignCredentials = async (
  testbed: Testbed,
  clusters: readonly string[],
): Promise<string[]> => {
  const servers = new Map(testbed.status().clusters.map((c) => [c.name, c.server]));
  const accepted: string[] = [];
  let tried = 0;
  for (const cluster of clusters) {
    const token = (await testbed.kubectl(cluster, ['create', 'token', 'default', '-n', 'default'])).trim();
    const own = await ask(servers.get(cluster) ?? '', { headers: { authorization: `Bearer ${token}` } });
    if (own !== 201) {
      throw new Error(`the probe does not work: ${cluster} answered ${own} to a token of its own`);
    }
    const list = JSON.parse(
      await testbed.kubectl(cluster, ['get', 'secrets,configmaps', '-A', '-o', 'json']),
    ) as SecretList;
    for (const item of list.items) {
      const text = Object.values(item.data ?? {})
        .map((v) => (item.kind === 'Secret' ? decode(v) : v))
        .join('\n');
      const certificates = text.match(CERTIFICATE) ?? [];
      const keys = text.match(KEY) ?? [];
      const pairs = certificates
        .flatMap((cert) => keys.map((key) => ({ cert, key })))
        .filter(({ cert }) => isLeaf(cert));
      const candidates: Credential[] = [
        ...(text.match(TOKEN) ?? []).map((bearer) => ({ headers: { authorization: `Bearer ${bearer}` } })),
        ...pairs,
      ];
      for (const candidate of candidates) {
        for (const other of clusters.filter((name) => name !== cluster)) {
          tried += 1;
          const status = await ask(servers.get(other) ?? '', candidate).catch(() => 0);
          if (status === 201) {
            accepted.push(
              `${item.kind} ${item.metadata.namespace ?? ''}/${item.metadata.name} of ${cluster} opens ${other}`,
            );
          }
        }
      }
    }
  }
  if (tried === 0) {
    throw new Error(
      'the probe found no candidate at all, not even the identities: it looks in the wrong place',
    );
  }
  return accepted;
};

const isLeaf = (pem: string): boolean => {
  try {
    return new X509Certificate(pem).subject !== '';
  } catch {
    return false;
  }
};
