import { webcrypto } from 'node:crypto';

type X509 = typeof import('@peculiar/x509');

/** Loaded when the first certificate is made: it costs 20 MB, and a bundle evaluates static imports before its polyfill. */
const loadX509 = async (): Promise<X509> => {
  await import('reflect-metadata');
  return import('@peculiar/x509');
};

/** A certificate and its private key, PEM. The key is a secret. */
export interface KeyPairPem {
  readonly cert: string;
  readonly key: string;
}

/** A CA and a serving certificate signed by it. */
export interface ServingBundle {
  readonly ca: string;
  readonly serving: KeyPairPem;
  /** When the first of the two expires, RFC 3339. */
  readonly notAfter: string;
}

export interface ServingOptions {
  readonly commonName: string;
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
  readonly now: Date;
  /** Default 10 years. */
  readonly days?: number;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 3650;

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${(
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n')}\n-----END ${label}-----\n`;

const newKeys = (): Promise<CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<CryptoKeyPair>;

const keyPem = async (key: CryptoKey): Promise<string> =>
  pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', key));

const altNames = (
  x509: X509,
  options: ServingOptions,
): InstanceType<X509['SubjectAlternativeNameExtension']> =>
  new x509.SubjectAlternativeNameExtension([
    ...(options.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(options.addresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ]);

const period = (options: ServingOptions): { notBefore: Date; notAfter: Date } => ({
  // An hour back, so that a peer's slow clock doesn't refuse it.
  notBefore: new Date(options.now.getTime() - 3_600_000),
  notAfter: new Date(options.now.getTime() + (options.days ?? DEFAULT_DAYS) * DAY_MS),
});

/** Makes a self-signed serving certificate (ECDSA P-256), as a kubelet without certificate rotation has. */
export const makeSelfSigned = async (options: ServingOptions): Promise<KeyPairPem> => {
  const x509 = await loadX509();
  const keys = await newKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: [{ CN: [options.commonName] }],
      keys,
      signingAlgorithm: ALGORITHM,
      ...period(options),
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        altNames(x509, options),
      ],
    },
    webcrypto as unknown as Crypto,
  );
  return { cert: cert.toString('pem'), key: await keyPem(keys.privateKey) };
};

/** Makes a CA, signs one serving certificate with it and forgets the CA's key, so that nothing else can be signed. */
export const makeServingBundle = async (options: ServingOptions): Promise<ServingBundle> => {
  const x509 = await loadX509();
  const crypto = webcrypto as unknown as Crypto;
  const caKeys = await newKeys();
  const dates = period(options);
  const ca = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: [{ CN: [`${options.commonName} CA`] }],
      keys: caKeys,
      signingAlgorithm: ALGORITHM,
      ...dates,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    },
    crypto,
  );
  const keys = await newKeys();
  const serving = await x509.X509CertificateGenerator.create(
    {
      subject: [{ CN: [options.commonName] }],
      issuer: ca.subject,
      publicKey: keys.publicKey,
      signingKey: caKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...dates,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        altNames(x509, options),
      ],
    },
    crypto,
  );
  return {
    ca: ca.toString('pem'),
    serving: { cert: serving.toString('pem'), key: await keyPem(keys.privateKey) },
    notAfter: dates.notAfter.toISOString(),
  };
};
