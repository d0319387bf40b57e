import { describe, expect, it } from 'vitest';
import { API_VERSION, ENDPOINT_SLICE_MANAGED_BY } from '../api/labels.ts';
import { apiServerAddresses, MAX_NETWORKS, networksBeyond, nodeNetworks } from './plan-known-networks.ts';

const OWN = ['10.244.0.0/16', '10.96.0.0/16'];

describe('nodeNetworks', () => {
  it('tells what a node has routes to, once, and not what is known or no network', () => {
    const destinations = [
      'default',
      '0.0.0.0/1',
      '192.168.7.0/24',
      '10.20.0.0/16',
      '10.20.5.0/24',
      '10.20.9.9',
      '10.244.3.0/24',
      '10.244.1.7',
      '172.17.0.0/16',
      '203.0.113.9',
      'nonsense/99',
    ];
    expect(nodeNetworks(destinations, OWN)).toEqual([
      '10.20.0.0/16',
      '172.17.0.0/16',
      '192.168.7.0/24',
      '203.0.113.9/32',
    ]);
  });

  it('tells the largest when there are too many', () => {
    const many = Array.from({ length: 500 }, (_, n) => `192.168.${n >> 8}.${n & 255}`);
    const told = nodeNetworks([...many, '10.20.0.0/16'], OWN);
    expect(told).toHaveLength(MAX_NETWORKS);
    expect(told[0]).toBe('10.20.0.0/16');
  });
});

describe('what is known beyond the cluster', () => {
  const slice = (namespace: string, service: string, addresses: string[], more: object = {}) => ({
    metadata: { name: 'x', namespace, labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    endpoints: [{ addresses }],
    ...more,
  });

  it('is where the API servers are, by their own Service only', () => {
    const slices = [
      slice('default', 'kubernetes', ['172.20.1.1', '172.20.1.2']),
      slice('default', 'kubernetes', ['fd00::1'], { addressType: 'IPv6' }),
      slice('shop', 'kubernetes', ['10.9.9.9']),
      { ...slice('default', 'kubernetes', []), endpoints: null },
    ];
    expect(apiServerAddresses(slices)).toEqual(['172.20.1.1/32', '172.20.1.2/32']);
  });

  it('is what nodes told, and endpoints that are no pods and not ours', () => {
    const node = {
      apiVersion: API_VERSION,
      kind: 'FabricNode',
      metadata: { name: 'n1' },
      spec: { nodeAddress: '192.168.7.2', podRanges: [], externalAddress: '10.70.0.1' },
      status: { networks: ['192.168.7.0/24'] },
    };
    const ours = slice('shop', 'web', ['10.128.0.7']);
    const slices = [
      slice('shop', 'db', ['10.20.0.5']),
      slice('shop', 'db', ['10.20.0.5', 'not-an-address']),
      { ...slice('shop', 'web', []), endpoints: [{ addresses: ['10.244.0.9'], targetRef: { kind: 'Pod' } }] },
      {
        ...ours,
        metadata: {
          ...ours.metadata,
          labels: { 'endpointslice.kubernetes.io/managed-by': ENDPOINT_SLICE_MANAGED_BY },
        },
      },
    ];
    expect(networksBeyond([node], slices)).toEqual(['192.168.7.0/24', '10.20.0.5/32']);
  });
});
