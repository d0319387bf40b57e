import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import type { ClusterId, Pin } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { LABELS, MANAGED_BY, NAMES } from '../api/labels.ts';
import type { CallOptions, KubeClient } from '../runtime/kube/client.ts';
import { ensure } from '../runtime/kube/apply.ts';
import { isAlreadyExists } from '../runtime/kube/errors.ts';
import { CONFIG_MAP, NAMESPACE, SECRET } from '../runtime/kube/resources.ts';
import type { ConfigMap, Secret } from '../runtime/kube/types.ts';
import { clusterIdOfPin, pinOfKey } from './keys.ts';

/** A cluster's identity: a key pair of its own with a self-signed certificate, kept in a Secret and made once. */

/** What anyone may know of an identity. */
export interface PublicIdentity {
  readonly clusterID: ClusterId;
  readonly pin: Pin;
  /** Human name of the cluster. */
  readonly name: string;
}

/** This cluster's own identity. */
export interface Identity extends PublicIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly key: KeyObject;
  /** UID of kube-system, by which a copied identity is told from its original. */
  readonly clusterUID: string;
}

/** Name of the public ConfigMap beside the Secret: clusterID, pin, name, clusterUID. */
export const IDENTITY_CONFIG_MAP = NAMES.identitySecret;

export interface KeyPairPem {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A new Ed25519 key with a self-signed certificate. Its dates mean nothing: keys are pinned, so no clock matters. */
export const generateKeyPair = async (): Promise<KeyPairPem> => {
  // Only needed once in a cluster's life, so its 20 MB are not loaded at start.
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const { subtle } = globalThis.crypto;
  const keys = await subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=fluvia',
    notBefore: new Date('2000-01-01T00:00:00Z'),
    notAfter: new Date('2999-12-31T00:00:00Z'),
    signingAlgorithm: { name: 'Ed25519' },
    keys,
  });
  const pkcs8 = Buffer.from(await subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    certificatePem: certificate.toString('pem'),
    keyPem: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  };
};

/**
 * The identity in a key pair.
 * @throws {FluviaError} INTERNAL when certificate and key don't belong together.
 */
export const identityOf = (pair: KeyPairPem, name: string, clusterUID: string): Identity => {
  const broken = (cause?: unknown): FluviaError =>
    new FluviaError(ERROR_CODES.INTERNAL, `Secret ${NAMES.identitySecret} holds no usable key pair`, {
      kind: 'stalled',
      hint: 'restore it from a backup; if there is none, delete it, unpeer everywhere and peer again',
      cause,
    });
  try {
    const certificate = new X509Certificate(pair.certificatePem);
    const key = createPrivateKey(pair.keyPem);
    if (!certificate.checkPrivateKey(key)) throw broken();
    const pin = pinOfKey(certificate.publicKey);
    return { ...pair, key, pin, clusterID: clusterIdOfPin(pin), name, clusterUID };
  } catch (error) {
    throw error instanceof FluviaError ? error : broken(error);
  }
};

const decode = (secret: Secret, key: string): string =>
  Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');

const managed = { [LABELS.managedBy]: MANAGED_BY } as const;

/**
 * Reads this cluster's identity, or makes it. Two replicas that start together agree, since only one create succeeds.
 * Also writes the public ConfigMap.
 */
export const loadIdentity = async (
  client: KubeClient,
  options: { readonly namespace: string; readonly clusterName: string } & CallOptions,
): Promise<Identity> => {
  const { namespace, clusterName, signal } = options;
  const kubeSystem = await client.get(NAMESPACE, 'kube-system', undefined, { signal });
  const read = (): Promise<Secret | undefined> =>
    client.get<Secret>(SECRET, NAMES.identitySecret, namespace, { signal });
  let secret = await read();
  if (secret === undefined) {
    const pair = await generateKeyPair();
    try {
      await client.create(
        SECRET,
        {
          metadata: { name: NAMES.identitySecret, namespace, labels: managed },
          type: 'kubernetes.io/tls',
          stringData: { 'tls.crt': pair.certificatePem, 'tls.key': pair.keyPem },
        },
        { signal },
      );
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    // What is stored counts, whoever stored it.
    secret = await read();
  }
  if (secret === undefined) {
    throw new FluviaError(ERROR_CODES.CONFLICT, `Secret ${NAMES.identitySecret} vanished while it was made`);
  }
  const pair = { certificatePem: decode(secret, 'tls.crt'), keyPem: decode(secret, 'tls.key') };
  const identity = identityOf(pair, clusterName, kubeSystem?.metadata.uid ?? '');
  const data = {
    clusterID: identity.clusterID,
    pin: identity.pin,
    name: identity.name,
    clusterUID: identity.clusterUID,
  };
  const manifest = { metadata: { name: IDENTITY_CONFIG_MAP, namespace, labels: managed }, data };
  const existing = await client.get<ConfigMap>(CONFIG_MAP, IDENTITY_CONFIG_MAP, namespace, { signal });
  await ensure<ConfigMap>(client, CONFIG_MAP, manifest, { fieldManager: 'fluvia-peering', existing, signal });
  return identity;
};

/**
 * The public part of a cluster's identity, as its controller published it.
 * @throws {FluviaError} NOT_INSTALLED when it isn't there.
 */
export const readPublicIdentity = async (
  client: KubeClient,
  options: { readonly namespace: string } & CallOptions,
): Promise<PublicIdentity> => {
  const map = await client.get<ConfigMap>(CONFIG_MAP, IDENTITY_CONFIG_MAP, options.namespace, {
    signal: options.signal,
  });
  const { clusterID, pin, name } = map?.data ?? {};
  if (clusterID === undefined || pin === undefined || name === undefined) {
    throw new FluviaError(
      ERROR_CODES.NOT_INSTALLED,
      `${client.server.host}: no identity in namespace ${options.namespace}`,
      {
        kind: 'stalled',
        hint: 'run fluviactl install there and wait until the controller is ready',
      },
    );
  }
  return { clusterID, pin, name };
};
