import { NAMES } from '../../api/labels.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { isAlreadyExists, isConflict } from '../../runtime/kube/errors.ts';
import { SECRET } from '../../runtime/kube/resources.ts';
import type { Secret } from '../../runtime/kube/types.ts';
import { makeServingBundle, type KeyPairPem } from '../../runtime/certificate.ts';

/** What the webhook serves with, and the CA that the API server shall trust for it (PEM). */
export interface WebhookCertificate {
  readonly ca: string;
  readonly serving: KeyPairPem;
}

const RENEW_BEFORE_MS = 30 * 86_400_000;
const NOT_AFTER = 'notAfter';

const text = (secret: Secret, field: string): string =>
  Buffer.from(secret.data?.[field] ?? '', 'base64').toString('utf8');

/** The certificate in the Secret; undefined when it is incomplete or about to expire. */
export const certificateOf = (secret: Secret | undefined, now: Date): WebhookCertificate | undefined => {
  if (secret === undefined) return undefined;
  const [ca, cert, key, notAfter] = ['ca.crt', 'tls.crt', 'tls.key', NOT_AFTER].map((field) =>
    text(secret, field),
  );
  if (!ca || !cert || !key || !notAfter) return undefined;
  const expiresIn = Date.parse(notAfter) - now.getTime();
  return expiresIn > RENEW_BEFORE_MS ? { ca, serving: { cert, key } } : undefined;
};

/**
 * The webhook's certificate from Secret `fluvia-webhook`, made once by whichever replica comes first; the other takes
 * what it finds. Renewed 30 days before it expires, also by whoever writes first.
 */
export const ensureCertificate = async (
  client: KubeClient,
  clock: Clock,
  namespace: string,
): Promise<WebhookCertificate> => {
  const name = NAMES.webhookSecret;
  const service = `${NAMES.webhookService}.${namespace}.svc`;
  for (;;) {
    const found = await client.get<Secret>(SECRET, name, namespace);
    const usable = certificateOf(found, clock.now());
    if (usable !== undefined) return usable;
    const bundle = await makeServingBundle({
      commonName: service,
      dnsNames: [service, `${service}.cluster.local`],
      now: clock.now(),
    });
    const data = Object.fromEntries(
      [
        ['ca.crt', bundle.ca],
        ['tls.crt', bundle.serving.cert],
        ['tls.key', bundle.serving.key],
        [NOT_AFTER, bundle.notAfter],
      ].map(([field, value]) => [field, Buffer.from(value ?? '').toString('base64')]),
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
      // The other replica was faster: take its certificate in the next round.
      if (!isAlreadyExists(error) && !isConflict(error)) throw error;
    }
  }
};
