/** Secret `fluvia-store`: the key that tokens are signed with and the front's certificate, made by the leader, mounted by the front. */
import { randomBytes } from 'node:crypto';
import { makeServingBundle } from '../../runtime/certificate.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { ensureMadeSecret, secretField } from '../../runtime/kube/made-secret.ts';
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

const keysOf = (secret: Secret | undefined, now: Date): StoreKeys | undefined => {
  const tokenKey = secretField(secret, STORE_FILES.tokenKey);
  const caCertificate = secretField(secret, STORE_FILES.ca).toString();
  const notAfter = Date.parse(secretField(secret, STORE_FILES.notAfter).toString());
  const isWhole =
    tokenKey.length >= 32 && caCertificate !== '' && secretField(secret, STORE_FILES.key).length > 0;
  return isWhole && notAfter - now.getTime() > RENEW_BEFORE_MS ? { tokenKey, caCertificate } : undefined;
};

/**
 * The store's keys, made when they are missing and the certificate renewed 30 days before its end. The token key stays:
 * tokens outlive a renewal. The CA before is trusted for as long as the front may still serve its certificate.
 */
export const ensureStoreKeys = (
  client: KubeClient,
  clock: Clock,
  namespace: string,
  clusterID: string,
): Promise<StoreKeys> =>
  ensureMadeSecret(client, {
    name: NAMES.storeSecret,
    namespace,
    read: (found) => keysOf(found, clock.now()),
    make: async (found) => {
      const serverName = storeServerName(clusterID);
      const { ca, serving, notAfter } = await makeServingBundle({
        commonName: serverName,
        dnsNames: [serverName],
        now: clock.now(),
        days: DAYS,
      });
      const old = secretField(found, STORE_FILES.tokenKey);
      const [previous = ''] = secretField(found, STORE_FILES.ca).toString().match(CERTIFICATES) ?? [];
      return {
        [STORE_FILES.tokenKey]: old.length >= 32 ? old : randomBytes(32),
        [STORE_FILES.certificate]: serving.cert,
        [STORE_FILES.key]: serving.key,
        [STORE_FILES.ca]: `${ca}${previous}`,
        [STORE_FILES.notAfter]: notAfter,
      };
    },
  });
