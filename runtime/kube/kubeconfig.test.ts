import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { loadKubeconfig } from './kubeconfig.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fluvia-kubeconfig-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

const config = (user: string, extra = ''): string => `
apiVersion: v1
kind: Config
current-context: main
clusters:
- name: c
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority-data: ${Buffer.from('the CA').toString('base64')}
${extra}
contexts:
- name: main
  context: {cluster: c, user: u, namespace: team}
- name: other
  context: {cluster: missing, user: u}
users:
- name: u
  user: ${user}
`;

describe('kubeconfig', () => {
  it('reads server, CA, namespace and a certificate beside the file', async () => {
    write('client.crt', 'the certificate');
    const key = Buffer.from('the key').toString('base64');
    const path = write('a', config(`{client-certificate: client.crt, client-key-data: ${key}}`));
    const access = await loadKubeconfig({ path });
    expect(access).toMatchObject({
      server: new URL('https://10.0.0.1:6443'),
      ca: 'the CA',
      cert: 'the certificate',
      key: 'the key',
      namespace: 'team',
      context: 'main',
      insecure: false,
    });
    expect(access.token).toBeUndefined();
  });

  it('reads tokens and impersonation', async () => {
    const path = write('b', config('{token: abc, as: jane, as-groups: [dev, ops]}'));
    const access = await loadKubeconfig({ path });
    expect(await access.token?.()).toBe('abc');
    expect(access.impersonate).toEqual({ user: 'jane', groups: ['dev', 'ops'] });
  });

  it('runs an exec plugin and takes its token', async () => {
    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'made' },
    };
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'echo',
      args: [JSON.stringify(credential)],
      interactiveMode: 'Never',
    };
    const access = await loadKubeconfig({ path: write('c', config(JSON.stringify({ exec }))) });
    expect(await access.token?.()).toBe('made');
  });

  it('merges the files of $KUBECONFIG: the first to name something wins, missing ones are passed over', async () => {
    const one = write('one', config('{token: first}'));
    const two = write(
      'two',
      config('{token: second}').replace('current-context: main', 'current-context: other'),
    );
    const KUBECONFIG = `${join(folder, 'absent')}:${one}:${two}`;
    const access = await loadKubeconfig({ env: { KUBECONFIG } });
    expect(await access.token?.()).toBe('first');
    expect(access.context).toBe('main');
  });

  it.each([
    ['a missing file', () => join(folder, 'nowhere'), undefined, 'ENOENT'],
    ['something else than YAML', () => write('d', '{'), undefined, 'kubeconfig'],
    ['an unknown context', () => write('e', config('{}')), 'nope', 'there is no context "nope"'],
    [
      'a context without its cluster',
      () => write('f', config('{}')),
      'other',
      'the cluster of context "other" is missing',
    ],
    [
      'a proxy',
      () => write('g', config('{}', '    proxy-url: http://p')),
      undefined,
      'proxy-url is not supported',
    ],
    [
      'a missing certificate file',
      () => write('h', config('{client-certificate: gone.crt}')),
      undefined,
      'gone.crt',
    ],
  ])('says what is wrong: %s', async (_what, path, context, message) => {
    const attempt = loadKubeconfig({ path: path(), context });
    await expect(attempt).rejects.toMatchObject({
      code: 'FLUVIA_ERR_BAD_INPUT',
      message: expect.stringContaining(message),
    });
  });
});
