/** Secret `fluvia-store`: the key that tokens are signed with and the front's certificate, made by the leader, mounted by the front. */
import { randomBytes } from 'node:crypto';
import { makeServingBundle } from '../../runtime/certificate.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { isAlreadyExists, isConflict } from '../../runtime/kube/errors.ts';
import { SECRET } from '../../runtime/kube/resources.ts';
import type { Secret } from '../../runtime/kube/types.ts';
import { NAMES } from '../../api/labels.ts';

/** Fields of the Secret, and files of the front's mount. */
export const STORE_FILES = {
  tokenKey: 'token.key',
  certificate: 'tls.crt',
  key: 'tls.key',
  /** Its own CA, after a renewal followed by the one before. */
  ca: 'ca.crt',
  notAfter: 'notAfter',
} as const;

/** What the leader needs of the Secret. */
export interface StoreKeys {
  readonly tokenKey: Buffer;
  readonly caCertificate: string;
}

const DAYS = 90;
const RENEW_BEFORE_MS = 30 * 86_400_000;
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g;

/** The name in a store's certificate. */
export const storeServerName = (clusterID: string): string => `store.${clusterID}.fluvia.internal`;

const field = (secret: Secret | undefined, name: string): Buffer =>
  Buffer.from(secret?.data?.[name] ?? '', 'base64');

const keysOf = (secret: Secret | undefined, now: Date): StoreKeys | undefined => {
  const tokenKey = field(secret, STORE_FILES.tokenKey);
  const caCertificate = field(secret, STORE_FILES.ca).toString();
  const notAfter = Date.parse(field(secret, STORE_FILES.notAfter).toString());
  const isWhole = tokenKey.length >= 32 && caCertificate !== '' && field(secret, STORE_FILES.key).length > 0;
  return isWhole && notAfter - now.getTime() > RENEW_BEFORE_MS ? { tokenKey, caCertificate } : undefined;
};

/**
 * The store's keys, made when they are missing and the certificate renewed 30 days before its end. The token key stays:
 * tokens outlive a renewal. The CA before is trusted for as long as the front may still serve its certificate.
 */
export const ensureStoreKeys = async (
  client: KubeClient,
  clock: Clock,
  namespace: string,
  clusterID: string,
): Promise<StoreKeys> => {
  const name = NAMES.storeSecret;
  for (;;) {
    const found = await client.get<Secret>(SECRET, name, namespace);
    const usable = keysOf(found, clock.now());
    if (usable !== undefined) return usable;
    const serverName = storeServerName(clusterID);
    const bundle = await makeServingBundle({
      commonName: serverName,
      dnsNames: [serverName],
      now: clock.now(),
      days: DAYS,
    });
    const old = field(found, STORE_FILES.tokenKey);
    const [previous = ''] = field(found, STORE_FILES.ca).toString().match(CERTIFICATES) ?? [];
    const data = Object.fromEntries(
      [
        [STORE_FILES.tokenKey, old.length >= 32 ? old : randomBytes(32)] as const,
        [STORE_FILES.certificate, bundle.serving.cert] as const,
        [STORE_FILES.key, bundle.serving.key] as const,
        [STORE_FILES.ca, `${bundle.ca}${previous}`] as const,
        [STORE_FILES.notAfter, bundle.notAfter] as const,
      ].map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    );
    try {
      if (found === undefined) {
        await client.create(SECRET, { metadata: { name, namespace }, type: 'Opaque', data });
      } else {
        const { resourceVersion } = found.metadata;
        await client.patch(
          SECRET,
          name,
          namespace,
          { metadata: { resourceVersion }, data },
          { type: 'merge' },
        );
      }
    } catch (error) {
      if (!isAlreadyExists(error) && !isConflict(error)) throw error;
    }
  }
};
