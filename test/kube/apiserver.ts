/** A real etcd and kube-apiserver on loopback ports, without nodes or controllers: what tests of API clients need. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { ClusterAccess } from '../../runtime/kube/access.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { freePort } from '../support/free-port.ts';
import { writePki } from '../testbed/pki.ts';
import { sleep } from '../testbed/processes.ts';
import { ensureTool } from '../testbed/tools.ts';

export interface TestApiServer {
  readonly port: number;
  /** As a member of system:masters. */
  readonly access: ClusterAccess;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** Holds the keys and the logs `etcd.log`, `kube-apiserver.log`. */
  readonly folder: string;
  /** Kills the API server with SIGKILL. */
  killApiServer(): Promise<void>;
  /** Starts it again on the same port and etcd, and waits until it is ready. */
  startApiServer(): Promise<void>;
  /** Compacts etcd at its current revision, so that older resource versions are gone. */
  compact(): Promise<void>;
  /** Sum of `apiserver_request_total` over the series that carry all these labels. */
  requests(client: KubeClient, labels: Readonly<Record<string, string>>): Promise<number>;
  stop(): Promise<void>;
}

const start = (folder: string, name: string, file: string, args: readonly string[]): ChildProcess => {
  const log = createWriteStream(join(folder, `${name}.log`), { flags: 'a' });
  // Killed with the test process, however that ends.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', file, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  return child;
};

const kill = async (child: ChildProcess | undefined): Promise<void> => {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
};

const lastLines = (folder: string, name: string): string =>
  readFileSync(join(folder, `${name}.log`), 'utf8')
    .split('\n')
    .slice(-6)
    .join('\n');

const waitReady = async (client: KubeClient, child: ChildProcess, folder: string): Promise<void> => {
  const end = Date.now() + 150_000;
  for (;;) {
    try {
      await client.request('GET', '/readyz', undefined, {}, { timeoutMs: 2000 });
      return;
    } catch (error) {
      if (child.exitCode !== null || Date.now() > end) {
        throw new Error(`kube-apiserver is not ready:\n${lastLines(folder, 'kube-apiserver')}`, {
          cause: error,
        });
      }
    }
    await sleep(100);
  }
};

const etcdCall = async (port: number, path: string, body: unknown): Promise<Record<string, unknown>> => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Record<string, unknown>;
  if (!response.ok) throw new Error(`etcd ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
};

const sumSeries = (text: string, name: string, labels: Readonly<Record<string, string>>): number =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);

/** There is no such node; its address and certificate let a test pose as its kubelet. */
const node = {
  cluster: 'test',
  name: 'test-1',
  ip: '127.0.0.1',
  mac: '02:00:00:00:00:01',
  podCidr: '10.244.0.0/24',
  netns: '',
  port: '',
};

/** startApiServer starts both, waits until they are ready (about 4 s), and returns how to use and stop them. */
export const startApiServer = async (extraFlags: readonly string[] = []): Promise<TestApiServer> => {
  const { files } = await ensureTool('kube', (line) => console.log(line));
  const folder = mkdtempSync(join(tmpdir(), 'fluvia-apiserver-'));
  const [port, etcdPort, peerPort] = [await freePort(), await freePort(), await freePort()];
  await writePki(folder, { name: 'test', server: `https://127.0.0.1:${port}`, nodes: [node] });
  const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const access: ClusterAccess = {
    server: new URL(`https://127.0.0.1:${port}`),
    ca: pem('ca.crt'),
    cert: pem('admin.crt'),
    key: pem('admin.key'),
  };
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const etcd = start(folder, 'etcd', files['etcd'] ?? '', [
    `--data-dir=${join(folder, 'etcd')}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
  ]);
  const flags = [
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    `--tls-cert-file=${folder}/apiserver.crt`,
    `--tls-private-key-file=${folder}/apiserver.key`,
    `--client-ca-file=${folder}/ca.crt`,
    `--service-account-key-file=${folder}/sa.pub`,
    `--service-account-signing-key-file=${folder}/sa.key`,
    '--service-account-issuer=https://kubernetes.default.svc',
    '--service-cluster-ip-range=10.96.0.0/16',
    '--authorization-mode=RBAC',
    '--endpoint-reconciler-type=none',
    '--disable-admission-plugins=ServiceAccount',
    `--kubelet-client-certificate=${folder}/kubelet-client.crt`,
    `--kubelet-client-key=${folder}/kubelet-client.key`,
    '--kubelet-preferred-address-types=InternalIP',
    '--shutdown-send-retry-after=false',
    ...extraFlags,
  ];
  let api: ChildProcess | undefined;
  const admin = createKubeClient(access, { userAgent: 'test-apiserver' });
  const startApi = async (): Promise<void> => {
    api = start(folder, 'kube-apiserver', files['kube-apiserver'] ?? '', flags);
    await waitReady(admin, api, folder);
  };
  const stop = async (): Promise<void> => {
    await admin.close();
    await Promise.all([kill(api), kill(etcd)]);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await startApi();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    access,
    kubeconfig: join(folder, 'admin.conf'),
    folder,
    killApiServer: () => kill(api),
    startApiServer: startApi,
    compact: async () => {
      const { header } = await etcdCall(etcdPort, '/v3/kv/range', {
        key: Buffer.from('x').toString('base64'),
      });
      const revision = (header as { revision: string }).revision;
      await etcdCall(etcdPort, '/v3/kv/compaction', { revision, physical: true });
    },
    requests: async (client, labels) =>
      sumSeries(await client.request<string>('GET', '/metrics'), 'apiserver_request_total', labels),
    stop,
  };
};
