import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { createMetrics } from '../runtime/metrics.ts';
import { startHealthServer } from './health-server.ts';

describe('the health server', () => {
  it('tells life, readiness and metrics, nothing else, and stops with its signal', async () => {
    const stop = new AbortController();
    const metrics = createMetrics();
    metrics.counter('fluvia_test_total', 'A test.').inc();
    let reason: string | undefined = 'caches are not filled yet';
    const server = await startHealthServer(
      { port: 0, host: '127.0.0.1', metrics, notReadyBecause: () => reason },
      stop.signal,
    );
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const get = async (path: string, method = 'GET'): Promise<[number, string]> => {
      const response = await fetch(base + path, { method });
      return [response.status, await response.text()];
    };
    expect(await get('/healthz')).toEqual([200, 'ok\n']);
    expect(await get('/readyz')).toEqual([503, 'caches are not filled yet\n']);
    reason = undefined;
    expect(await get('/readyz')).toEqual([200, 'ok\n']);
    expect((await get('/metrics'))[1]).toContain('fluvia_test_total 1');
    expect((await get('/etc/passwd'))[0]).toBe(404);
    expect((await get('/healthz', 'POST'))[0]).toBe(405);
    stop.abort();
    await expect(fetch(`${base}/healthz`)).rejects.toThrow('fetch failed');
  });
});
