import { NAMES } from '../../api/labels.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { ensureMadeSecret, secretField } from '../../runtime/kube/made-secret.ts';
import type { Secret } from '../../runtime/kube/types.ts';
import { makeServingBundle, type KeyPairPem } from '../../runtime/certificate.ts';

/** What the webhook serves with, and the CA that the API server shall trust for it (PEM). */
export interface WebhookCertificate {
  readonly ca: string;
  readonly serving: KeyPairPem;
}

const RENEW_BEFORE_MS = 30 * 86_400_000;
const NOT_AFTER = 'notAfter';

/** The certificate in the Secret; undefined when it is incomplete or about to expire. */
export const certificateOf = (secret: Secret | undefined, now: Date): WebhookCertificate | undefined => {
  const [ca, cert, key, notAfter] = ['ca.crt', 'tls.crt', 'tls.key', NOT_AFTER].map((field) =>
    secretField(secret, field).toString(),
  );
  if (!ca || !cert || !key || !notAfter) return undefined;
  const expiresIn = Date.parse(notAfter) - now.getTime();
  return expiresIn > RENEW_BEFORE_MS ? { ca, serving: { cert, key } } : undefined;
};

/**
 * The webhook's certificate from Secret `fluvia-webhook`, made once by whichever replica comes first; the other takes
 * what it finds. Renewed 30 days before it expires, also by whoever writes first.
 */
export const ensureCertificate = (
  client: KubeClient,
  clock: Clock,
  namespace: string,
): Promise<WebhookCertificate> => {
  const service = `${NAMES.webhookService}.${namespace}.svc`;
  return ensureMadeSecret(client, {
    name: NAMES.webhookSecret,
    namespace,
    read: (found) => certificateOf(found, clock.now()),
    make: async () => {
      const { ca, serving, notAfter } = await makeServingBundle({
        commonName: service,
        dnsNames: [service, `${service}.cluster.local`],
        now: clock.now(),
      });
      return { 'ca.crt': ca, 'tls.crt': serving.cert, 'tls.key': serving.key, [NOT_AFTER]: notAfter };
    },
  });
};
