/** Certificates and kubeconfigs of one cluster: P-256 throughout, valid for a year, made in this process. */
import 'reflect-metadata';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import type { ClusterPlan } from './plan-addresses.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const SERVICE_ADDRESS = '10.96.0.1';

interface Authority {
  readonly name: x509.JsonName;
  readonly keys: CryptoKeyPair;
  readonly certificate: string;
}

interface Credentials {
  readonly certificate: string;
  readonly key: string;
}

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64').replace(/.{64}/g, '$&\n').trimEnd()}\n-----END ${label}-----\n`;

const makeKeys = (): Promise<CryptoKeyPair> => crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

const privatePem = async (keys: CryptoKeyPair): Promise<string> =>
  pem('PRIVATE KEY', await crypto.subtle.exportKey('pkcs8', keys.privateKey));

const validity = (): { notBefore: Date; notAfter: Date } => {
  const now = Date.now();
  // an hour back: a host whose clock steps must not make its own certificates invalid
  return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + 365 * 86_400_000) };
};

const serial = (): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(8)))
    .toString('hex')
    .replace(/^./, '1');

const makeAuthority = async (commonName: string): Promise<Authority> => {
  const keys = await makeKeys();
  const name = [{ CN: [commonName] }];
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name,
    keys,
    ...validity(),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { name, keys, certificate: `${certificate.toString('pem')}\n` };
};

const issue = async (
  authority: Authority,
  subject: { readonly commonName: string; readonly organization?: string },
  names: readonly x509.JsonGeneralName[] = [],
): Promise<Credentials> => {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: [
      ...(subject.organization === undefined ? [] : [{ O: [subject.organization] }]),
      { CN: [subject.commonName] },
    ],
    issuer: authority.name,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    signingAlgorithm: ALGORITHM,
    ...validity(),
    extensions: [
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.clientAuth,
        x509.ExtendedKeyUsage.serverAuth,
      ]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await privatePem(keys) };
};

/** A kubeconfig that holds everything it needs, so that it can be copied; JSON, which is YAML. */
const kubeconfig = (
  name: string,
  server: string,
  ca: string,
  user: string,
  credentials: Credentials,
): string => {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(ca) } }],
      users: [
        {
          name: user,
          user: {
            'client-certificate-data': base64(credentials.certificate),
            'client-key-data': base64(credentials.key),
          },
        },
      ],
      contexts: [{ name, context: { cluster: name, user } }],
      'current-context': name,
    },
    null,
    2,
  )}\n`;
};

/**
 * Writes the cluster's keys into `folder`: `X.crt`, `X.key` and `X.conf` files, `sa.key`/`sa.pub`, and for node N
 * `kubelet-N.*`. Returns the administrator's kubeconfig.
 */
export const writePki = async (folder: string, cluster: ClusterPlan): Promise<string> => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const write = (file: string, text: string): void =>
    writeFileSync(join(folder, file), text, { mode: 0o600 });
  const [ca, front, serviceAccount] = await Promise.all([
    makeAuthority('kubernetes'),
    makeAuthority('front-proxy-ca'),
    makeKeys(),
  ]);
  const first = cluster.nodes[0]?.ip ?? '';
  const dns = (...names: readonly string[]): x509.JsonGeneralName[] =>
    names.map((value) => ({ type: 'dns', value }));
  const ip = (...values: readonly string[]): x509.JsonGeneralName[] =>
    values.map((value) => ({ type: 'ip', value }));
  write('ca.crt', ca.certificate);
  write('ca.key', await privatePem(ca.keys));
  write('front-ca.crt', front.certificate);
  write('sa.key', await privatePem(serviceAccount));
  write('sa.pub', pem('PUBLIC KEY', await crypto.subtle.exportKey('spki', serviceAccount.publicKey)));
  const conf = async (
    file: string,
    commonName: string,
    organization?: string,
    names: readonly x509.JsonGeneralName[] = [],
  ): Promise<string> => {
    const credentials = await issue(
      ca,
      { commonName, ...(organization === undefined ? {} : { organization }) },
      names,
    );
    write(`${file}.crt`, credentials.certificate);
    write(`${file}.key`, credentials.key);
    const text = kubeconfig(cluster.name, cluster.server, ca.certificate, file, credentials);
    write(`${file}.conf`, text);
    return text;
  };
  const proxy = await issue(front, { commonName: 'front-proxy' });
  write('front.crt', proxy.certificate);
  write('front.key', proxy.key);
  await conf('apiserver', 'kube-apiserver', undefined, [
    ...ip(first, SERVICE_ADDRESS, '127.0.0.1'),
    ...dns(
      'kubernetes',
      'kubernetes.default',
      'kubernetes.default.svc',
      'kubernetes.default.svc.cluster.local',
      'localhost',
    ),
  ]);
  await conf('kubelet-client', 'kube-apiserver-kubelet-client', 'system:masters');
  await conf('controller-manager', 'system:kube-controller-manager');
  await conf('scheduler', 'system:kube-scheduler');
  await conf('proxy', 'system:kube-proxy');
  for (const node of cluster.nodes)
    await conf(`kubelet-${node.name}`, `system:node:${node.name}`, 'system:nodes', [
      ...ip(node.ip),
      ...dns(node.name),
    ]);
  return conf('admin', 'admin', 'system:masters');
};
