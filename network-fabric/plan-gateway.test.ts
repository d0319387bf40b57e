import { describe, expect, it } from 'vitest';
import {
  keptEndpoints,
  planGateway,
  whyNotEndpoint,
  type NetworkItem,
  type RemoteNetwork,
} from './plan-gateway.ts';

const key = (letter: string): string => `${letter.repeat(42)}A=`;
const network = (publicKey: string, endpoint: string): NetworkItem => ({
  podCIDRs: ['10.244.0.0/16'],
  externalCIDR: '10.70.0.0/16',
  views: [],
  gateways: [{ id: 'g', publicKey, endpoints: [endpoint], externalAddress: '10.70.0.1' }],
});
const remote = (
  peer: string,
  index: number,
  publicKey = key(peer),
  endpoint = `203.0.113.${index}:51820`,
): RemoteNetwork => ({
  peer,
  network: network(publicKey, endpoint),
  theirs: [
    { purpose: 'Pod', real: '10.244.0.0/16', view: `10.${128 + 2 * index}.0.0/16` },
    { purpose: 'External', real: '10.70.0.0/16', view: `10.${129 + 2 * index}.0.0/16` },
  ],
});

describe('keptEndpoints', () => {
  it('keeps views clear of what can be dialled, and of one address only within the pools', () => {
    const endpoints = [
      '10.128.0.1:1',
      'nowhere',
      '203.0.113.7:2',
      '10.129.0.1:3',
      '127.0.0.1:4',
      '10.60.0.1:5',
    ];
    const gateway = { id: 'g', publicKey: key('a'), endpoints, externalAddress: '10.70.0.1' };
    expect(keptEndpoints(gateway, ['10.128.0.0/9'])).toEqual([
      '10.128.0.1/32',
      '203.0.113.7/32',
      '10.60.0.1/32',
    ]);
    expect(keptEndpoints(undefined, ['10.128.0.0/9'])).toEqual([]);
  });
});

describe('planGateway', () => {
  it('makes one WireGuard peer for each peer, with its views as allowed IPs', () => {
    const plan = planGateway({ remotes: [remote('b', 2), remote('a', 1)], existing: [], ownKeys: [] });
    expect(plan.refused.size).toBe(0);
    expect(plan.peers[0]).toEqual({
      peer: 'a',
      publicKey: key('a'),
      endpoints: ['203.0.113.1:51820'],
      allowedIPs: ['10.130.0.0/16', '10.131.0.0/16'],
      probeAddress: '10.131.0.1',
    });
  });

  it("refuses a peer that announces another's key, whoever is first by name", () => {
    const honest = planGateway({ remotes: [remote('z', 1)], existing: [], ownKeys: [] });
    const plan = planGateway({
      remotes: [remote('a', 2, key('z')), remote('z', 1)],
      existing: honest.peers,
      ownKeys: [],
    });
    expect(plan.peers.map((peer) => peer.peer)).toEqual(['z']);
    expect(plan.refused.get('a')).toMatch(/key of another gateway/);
  });

  it('refuses our own key', () => {
    const plan = planGateway({ remotes: [remote('a', 1)], existing: [], ownKeys: [key('a')] });
    expect(plan.peers).toEqual([]);
  });

  it("drops an endpoint that lies in a view, also another peer's", () => {
    const plan = planGateway({
      remotes: [remote('a', 1), remote('b', 2, key('b'), '10.130.4.4:51820')],
      existing: [],
      ownKeys: [],
    });
    expect(plan.peers[1]?.endpoints).toEqual([]);
    expect(plan.refused.get('b')).toBe('endpoint 10.130.4.4:51820 lies in the view 10.130.0.0/16');
  });

  it.each([
    ['127.0.0.1:51820'],
    ['169.254.169.254:80'],
    ['224.0.0.1:1'],
    ['203.0.113.1:0'],
    ['203.0.113.1:70000'],
    ['203.0.113.1'],
    ['-h:1'],
    ['300.1.1.1:1'],
    ['host.example:51820'],
  ])('refuses the endpoint %s', (endpoint) => {
    expect(whyNotEndpoint(endpoint, [])).toBeDefined();
  });
});
