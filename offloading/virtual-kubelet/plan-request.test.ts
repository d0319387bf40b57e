import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pod } from '../../runtime/kube/types.ts';
import { accessOf } from './kubelet-auth.ts';
import { parseContainerPath, queryOf, upgradeHeaders, whyNotReachable } from './plan-request.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'shop', uid: 'u1' },
  spec: {
    nodeName: 'fluvia-east',
    containers: [{ name: 'c' }],
    initContainers: [{ name: 'i' }],
    ephemeralContainers: [{ name: 'e' }],
  },
};

describe('parseContainerPath', () => {
  it.each([
    ['/containerLogs/shop/web/c', { verb: 'logs', namespace: 'shop', pod: 'web', container: 'c' }],
    ['/exec/shop/web/c', { verb: 'exec', namespace: 'shop', pod: 'web', container: 'c' }],
    ['/exec/shop/web/u1/c', { verb: 'exec', namespace: 'shop', pod: 'web', uid: 'u1', container: 'c' }],
    ['/attach/shop/web/c', { verb: 'attach', namespace: 'shop', pod: 'web', container: 'c' }],
    ['/portForward/shop/web', { verb: 'portForward', namespace: 'shop', pod: 'web' }],
    ['/portForward/shop/web/u1', { verb: 'portForward', namespace: 'shop', pod: 'web', uid: 'u1' }],
  ])('%s', (path, expected) => {
    expect(parseContainerPath(path)).toEqual(expected);
  });

  it.each([
    '/',
    '/exec',
    '/exec/shop/web',
    '/exec/shop/web/a/b/c',
    '/containerLogs/shop/web/c/d',
    '/containerLogs/../web/c',
    '/containerLogs/shop/%2e%2e/c',
    '/containerLogs/shop/we%2Fb/c',
    '/containerLogs/shop/web/',
    '/toString/shop/web/c',
    '/__proto__/shop/web/c',
    '/exec/%E0%A4%A/web/c',
  ])('refuses %s', (path) => {
    expect(parseContainerPath(path)).toBeUndefined();
  });

  it('never fails', () => {
    fc.assert(
      fc.property(fc.string(), (path) => {
        const parsed = parseContainerPath(path);
        expect(['undefined', 'object']).toContain(typeof parsed);
      }),
    );
  });
});

describe('whyNotReachable', () => {
  const path = { verb: 'exec', namespace: 'shop', pod: 'web' } as const;
  it.each([
    ['its container', { ...path, container: 'c' }, pod, 'fluvia-east', undefined],
    ['an init container', { ...path, container: 'i' }, pod, 'fluvia-east', undefined],
    ['a container that home does not have', { ...path, container: 'x' }, pod, 'fluvia-east', 404],
    ['an ephemeral one, which is not there', { ...path, container: 'e' }, pod, 'fluvia-east', 404],
    ['another node', { ...path, container: 'c' }, pod, 'fluvia-west', 404],
    ['no such pod', { ...path, container: 'c' }, undefined, 'fluvia-east', 404],
    ['another UID', { ...path, uid: 'u2', container: 'c' }, pod, 'fluvia-east', 404],
    ['port-forward', { ...path, verb: 'portForward' as const }, pod, 'fluvia-east', undefined],
  ])('%s', (_, given, found, node, expected) => {
    expect(whyNotReachable(given, found, node)?.status).toBe(expected);
  });
});

describe('what travels', () => {
  it('only upgrade headers', () => {
    const headers = {
      upgrade: 'SPDY/3.1',
      authorization: 'Bearer x',
      'x-stream-protocol-version': 'v4',
      cookie: 'c',
    };
    expect(upgradeHeaders(headers)).toEqual({ upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4' });
  });

  it('queries as lists, hostile names harmless', () => {
    const query = queryOf(new URLSearchParams('command=a&command=b&__proto__=x'));
    expect(query['command']).toEqual(['a', 'b']);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });
});

describe('accessOf', () => {
  it.each([
    ['GET', '/containerLogs/a/b/c', 'get', 'proxy'],
    ['GET', '/exec/a/b/c', 'create', 'proxy'],
    ['POST', '/exec/a/b/c', 'create', 'proxy'],
    ['GET', '/stats/summary', 'get', 'stats'],
    ['GET', '/metrics/resource', 'get', 'metrics'],
    ['GET', '/pods', 'get', 'pods'],
    ['BREW', '/anything', 'create', 'proxy'],
  ])('%s %s needs %s nodes/%s', (method, path, verb, subresource) => {
    expect(accessOf(method, path)).toEqual({ verb, subresource });
  });
});
