import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { generateKeyPair, identityOf } from '../../peering/identity.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { CONFIG_MAP, CRD, DEPLOYMENT, NAMESPACE, SECRET } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { INSTALL_FLAGS, installIn, runIn, type CliOutcome } from './run-cli.ts';

/** What people are told when something is wrong, by a real API server: one line, a next step, nothing half-made. */

let server: TestApiServer;
let client: KubeClient;
let nobody: string;

const cli = (...argv: readonly string[]): Promise<CliOutcome> => runIn(server.kubeconfig, argv);

const expectRefusal = (outcome: CliOutcome, code: number, line: RegExp, next: RegExp): void => {
  const lines = outcome.err.trimEnd().split('\n');
  expect(lines.filter((text) => text.startsWith('Error: '))).toHaveLength(1);
  expect(lines.at(-2)).toMatch(/^Error: /);
  expect(lines.at(-2)).toMatch(line);
  expect(lines.at(-1)).toMatch(/^Next: {2}/);
  expect(lines.at(-1)).toMatch(next);
  expect(outcome.code).toBe(code);
};

/** The controller would publish it; none runs here. */
const publishIdentity = async (name: string): Promise<void> => {
  const { clusterID, pin } = identityOf(await generateKeyPair(), name, 'uid');
  await client.apply(
    CONFIG_MAP,
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'fluvia-identity', namespace: 'fluvia-system' },
      data: { clusterID, pin, name },
    } as KubeObject,
    { fieldManager: 'test', force: true },
  );
};

const joinSecrets = async (): Promise<readonly string[]> =>
  (await client.list(SECRET, { namespace: 'fluvia-system' })).items.map((secret) => secret.metadata.name);

const invite = async (...flags: readonly string[]): Promise<string> => {
  const { code, out, err } = await cli('invite', '--endpoint', '127.0.0.1:9', ...flags);
  expect([code, err]).toEqual([0, expect.stringContaining('Revoke it: kubectl')]);
  return out;
};
const joinWith = (token: string): Promise<CliOutcome> =>
  runIn(server.kubeconfig, ['join', '-', '--no-wait'], token);

beforeAll(async () => {
  server = await startApiServer();
  client = createKubeClient(server.access);
  nobody = join(server.folder, 'nobody.conf');
  const config = parse(readFileSync(server.kubeconfig, 'utf8')) as { users: { user: object }[] };
  config.users = config.users.map((entry) => ({ ...entry, user: { ...entry.user, as: 'nobody' } }));
  writeFileSync(nobody, JSON.stringify(config));
});
afterAll(async () => {
  await client?.close();
  await server?.stop();
});

describe('a kubeconfig', () => {
  it('without that context: says which there are', async () => {
    expectRefusal(await cli('status', '--context', 'prod'), 2, /prod/, /context/i);
  });

  it('that is empty', async () => {
    const empty = join(server.folder, 'empty.conf');
    writeFileSync(empty, '');
    expectRefusal(await runIn(empty, ['status']), 2, /empty\.conf: it is not a kubeconfig/, /kubeconfig/);
    writeFileSync(empty, '{apiVersion: v1, kind: Config}');
    expectRefusal(await runIn(empty, ['status']), 2, /context/, /context/);
  });

  it('whose user may do nothing: 403 by any command, and nothing is made', async () => {
    for (const argv of [
      ['status'],
      ['install', ...INSTALL_FLAGS],
      ['uninstall', '--yes'],
      ['invite'],
      ['unpeer', 'east'],
      ['offload', 'namespace', 'default'],
    ]) {
      expectRefusal(await runIn(nobody, argv), 1, /403/, /cluster-admin|credentials/);
    }
    expect((await client.list(CRD)).items).toEqual([]);
    expect(await client.get(NAMESPACE, 'fluvia-system')).toBeUndefined();
  });
});

describe('a cluster without Fluvia', () => {
  it('is said to have none, and how to get it', async () => {
    for (const argv of [['status'], ['invite'], ['unpeer', 'east'], ['offload', 'namespace', 'default']]) {
      expectRefusal(await cli(...argv), 1, /not installed/, /fluviactl install/);
    }
  });

  it('has nothing to uninstall: no error', async () => {
    const { code, out } = await cli('uninstall', '--yes');
    expect([code, out]).toEqual([0, expect.stringContaining('Nothing of Fluvia')]);
  });
});

describe('with Fluvia', () => {
  beforeAll(async () => {
    await installIn(server.kubeconfig);
    await publishIdentity('home');
  });

  it('install does not take a newer version back', async () => {
    const label = (version: string): Promise<unknown> =>
      client.patch(
        DEPLOYMENT,
        'fluvia-controller',
        'fluvia-system',
        { metadata: { labels: { 'app.kubernetes.io/version': version } } },
        { type: 'merge' },
      );
    await label('99.0.0');
    expectRefusal(await cli('install', '--no-wait'), 2, /99\.0\.0 is installed/, /fluviactl 99\.0\.0/);
    await label('0.0.1');
    expect((await cli('install', '--no-wait')).code).toBe(0);
  });

  it('an invite that is garbage, cut, expired or the cluster’s own is refused before anything is written', async () => {
    expectRefusal(await joinWith('hello'), 1, /invite/, /invite/);
    const token = await invite();
    expectRefusal(await joinWith(token.slice(0, 60)), 1, /invite/, /invite/);
    expectRefusal(await joinWith(token), 1, /can’t peer with itself/, /kubeconfigs/);
    const brief = await invite('--expires', '1s');
    await publishIdentity('away');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expectRefusal(await joinWith(brief), 1, /expired at/, /fluviactl invite/);
    expect(await joinSecrets()).toEqual([]);
    await publishIdentity('home');
  });

  it('peering a cluster with itself is refused', async () => {
    const outcome = await cli('peer', '--remote-kubeconfig', server.kubeconfig);
    expectRefusal(outcome, 1, /same identity/, /two different clusters/);
  });

  it('an unknown peer is said to be unknown, with those that are known', async () => {
    expectRefusal(await cli('unpeer', 'east'), 1, /there is no peer "east"/, /no peers/);
    expectRefusal(
      await cli('offload', 'namespace', 'default', '--peer', 'east'),
      1,
      /no peer "east"/,
      /fluviactl peer/,
    );
    const peer = {
      metadata: { name: 'west' },
      spec: { clusterID: 'a'.repeat(26), pins: ['b'.repeat(64)], roles: ['Provider'] },
    };
    await client.create(fluviaRef('Peer'), peer as never);
    expectRefusal(await cli('unpeer', 'east'), 1, /there is no peer "east"/, /peers are: west/);
    expectRefusal(await cli('info', 'east'), 1, /there is no peer "east"/, /peers are: west/);
    await client.delete(fluviaRef('Peer'), 'west');
  });

  it.each(['kube-system', 'fluvia-system', 'fluvia-peers', 'fluvia-volumes'])(
    '%s is never opened',
    async (namespace) => {
      expectRefusal(
        await cli('offload', 'namespace', namespace),
        2,
        /belongs to the cluster itself/,
        /applications/,
      );
    },
  );

  it('an unknown namespace is not opened; one that is open can be opened again', async () => {
    expectRefusal(
      await cli('offload', 'namespace', 'shop'),
      1,
      /no namespace "shop"/,
      /kubectl create namespace shop/,
    );
    await client.create(NAMESPACE, { metadata: { name: 'shop' } });
    expect((await cli('offload', 'namespace', 'shop', '--no-wait')).code).toBe(0);
    const again = await cli('offload', 'namespace', 'shop', '--strategy', 'remote', '--no-wait');
    expect([again.code, again.err]).toEqual([0, expect.stringContaining('is open already')]);
    expect(await client.get(fluviaRef('NamespaceOffloading'), 'offloading', 'shop')).toMatchObject({
      spec: { strategy: 'Remote' },
    });
  });

  it('a node that its agent can’t serve is a problem of status and info', async () => {
    const condition = {
      type: 'Ready',
      status: 'False',
      reason: 'HostToolMissing',
      message: 'nft is not installed on this node',
      lastTransitionTime: new Date().toISOString(),
    };
    const node = fluviaRef('FabricNode');
    const spec = { nodeAddress: '192.0.2.1', podRanges: [], externalAddress: '10.70.0.1' };
    await client.create(node, { metadata: { name: 'node-1' }, spec } as never);
    const status = { heartbeatAt: new Date().toISOString(), conditions: [condition] };
    await client.patch(node, 'node-1', undefined, { status }, { type: 'merge', subresource: 'status' });
    for (const command of ['status', 'info']) {
      const { code, out } = await cli(command);
      expect([code, out]).toEqual([3, expect.stringContaining('node node-1: nft is not installed')]);
    }
    await client.delete(node, 'node-1');
  });
});
