import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createFakeClock } from '../clock.fake.ts';
import { loadInCluster } from './in-cluster.ts';

let mountPath = '';
beforeAll(() => {
  mountPath = mkdtempSync(join(tmpdir(), 'fluvia-in-cluster-'));
  writeFileSync(join(mountPath, 'ca.crt'), 'the CA');
  writeFileSync(join(mountPath, 'namespace'), 'fluvia-system\n');
});
afterAll(() => rmSync(mountPath, { recursive: true, force: true }));

const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

describe('in-cluster access', () => {
  it('reads what the kubelet mounted, and a renewed token within a minute', async () => {
    const clock = createFakeClock();
    const token = join(mountPath, 'token');
    writeFileSync(token, 'first\n');
    const access = loadInCluster({ env, mountPath, clock });
    expect(access).toMatchObject({
      server: new URL('https://10.96.0.1'),
      ca: 'the CA',
      namespace: 'fluvia-system',
    });
    expect(await access.token?.()).toBe('first');
    writeFileSync(token, 'second\n');
    await clock.advance(59_000);
    expect(await access.token?.()).toBe('first');
    await clock.advance(2000);
    expect(await access.token?.()).toBe('second');
    rmSync(token);
    await clock.advance(61_000);
    expect(await access.token?.()).toBe('second');
  });

  it('understands IPv6 addresses', () => {
    const access = loadInCluster({ env: { ...env, KUBERNETES_SERVICE_HOST: 'fd00::1' }, mountPath });
    expect(access.server.href).toBe('https://[fd00::1]/');
  });

  it('says that this is not a pod, or that nothing is mounted', () => {
    expect(() => loadInCluster({ env: {} })).toThrow('this is not a pod');
    expect(() => loadInCluster({ env, mountPath: '/nowhere' })).toThrow('no ServiceAccount mounted');
  });
});
