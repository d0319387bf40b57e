import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ContainerStreamRequest } from '../../api/link.ts';
import { planStream } from './plan-stream.ts';

const target = { namespace: 'shop', pod: 'web-0', container: 'web' };
const request = (more: Partial<ContainerStreamRequest>): ContainerStreamRequest => ({
  verb: 'logs',
  namespace: 'shop',
  pod: 'web-0',
  podUID: 'u',
  query: {},
  headers: {},
  ...more,
});

describe('planStream', () => {
  it('passes known log options with sane values only', () => {
    const query = {
      follow: ['true'],
      tailLines: ['10'],
      sinceTime: ['2026-11-25T01:02:03Z'],
      limitBytes: ['1 OR 1'],
      container: ['other'],
      insecureSkipTLSVerifyBackend: ['true'],
    };
    expect(planStream(request({ query }), target)).toEqual({
      method: 'GET',
      path: '/api/v1/namespaces/shop/pods/web-0/log?container=web&follow=true&tailLines=10&sinceTime=2026-11-25T01%3A02%3A03Z',
      headers: {},
    });
  });

  it("translates the kubelet's names of exec into the API server's", () => {
    const query = {
      input: ['1'],
      output: ['1'],
      error: ['0'],
      tty: ['true'],
      command: ['sh', '-c', 'a&b=c'],
    };
    const headers = {
      Upgrade: 'SPDY/3.1',
      Connection: 'Upgrade',
      'X-Stream-Protocol-Version': 'v5.channel.k8s.io',
      Authorization: 'Bearer x',
      'Impersonate-User': 'admin',
      Cookie: 'x',
    };
    expect(planStream(request({ verb: 'exec', query, headers }), target)).toEqual({
      method: 'POST',
      path: '/api/v1/namespaces/shop/pods/web-0/exec?container=web&stdin=true&stdout=true&tty=true&command=sh&command=-c&command=a%26b%3Dc',
      headers: {
        upgrade: 'SPDY/3.1',
        connection: 'Upgrade',
        'x-stream-protocol-version': 'v5.channel.k8s.io',
      },
    });
  });

  it('takes WebSockets by GET, and ports as numbers', () => {
    const headers = { upgrade: 'websocket', 'sec-websocket-key': 'k' };
    const plan = planStream(
      request({ verb: 'portForward', headers, query: { port: ['80', '0', 'x'], ports: ['81,99999'] } }),
      { namespace: 'shop', pod: 'web-0' },
    );
    expect(plan).toEqual({
      method: 'GET',
      path: '/api/v1/namespaces/shop/pods/web-0/portforward?ports=80&ports=81',
      headers: { upgrade: 'websocket', 'sec-websocket-key': 'k' },
    });
  });

  it('never leaves the pod, whatever is asked', () => {
    const verb = fc.constantFrom('logs' as const, 'exec' as const, 'attach' as const, 'portForward' as const);
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('../../secrets', 'a?b', 'x&container=y', '\r\nHost: x'),
    );
    const query = fc.dictionary(
      fc.constantFrom('command', 'follow', 'tailLines', 'ports', 'port', 'stdin', 'container', '__proto__'),
      fc.array(text, { maxLength: 4 }),
    );
    const headers = fc.dictionary(
      fc.constantFrom('upgrade', 'host', 'authorization', 'impersonate-user'),
      text,
    );
    fc.assert(
      fc.property(verb, query, headers, (one, asked, sent) => {
        const plan = planStream(request({ verb: one, query: asked, headers: sent }), target);
        const url = new URL(plan.path, 'https://api');
        expect(url.pathname).toMatch(
          /^\/api\/v1\/namespaces\/shop\/pods\/web-0\/(?:log|exec|attach|portforward)$/,
        );
        expect(url.searchParams.getAll('container').every((name) => name === 'web')).toBe(true);
        expect(Object.keys(plan.headers).filter((name) => name !== 'upgrade')).toEqual([]);
        expect(Object.values(plan.headers).some((value) => /[\r\n]/.test(value))).toBe(false);
      }),
    );
  });
});
