import { describe, expect, it } from 'vitest';
import { OBJECTS } from '../../api/collections.ts';
import type { EndpointSlice, Service } from '../../runtime/kube/types.ts';
import {
  isAnnounced,
  isReflectedService,
  planConfigItem,
  planEndpointOffers,
  planServiceItem,
  planSliceItem,
  type FindOrigin,
} from './plan-objects.ts';

const HOME = 'h'.repeat(26);
const WEST = 'w'.repeat(26);

const service = (spec: Partial<Service['spec']> = {}, annotations = {}): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', uid: 'u', annotations },
  spec: {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.7',
    ports: [{ port: 80, nodePort: 30080 }],
    selector: { app: 'web' },
    ...spec,
  },
});

const slice = (overrides: Partial<EndpointSlice> = {}): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-x', namespace: 'shop', uid: 's', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: '', protocol: 'TCP', port: 8080 }],
  endpoints: [
    { addresses: ['10.244.0.5'], nodeName: 'n1', conditions: { ready: true } },
    { addresses: ['10.61.0.5'], nodeName: 'fluvia-east', conditions: { ready: true } },
    { addresses: ['10.62.0.5'], nodeName: 'fluvia-west', hostname: 'web-1', conditions: { ready: false } },
    { addresses: ['192.0.2.1'] },
  ],
  ...overrides,
});

const findOrigin: FindOrigin = (endpoint, address) => {
  if (endpoint.nodeName === 'n1') return { clusterID: HOME, peer: undefined, address, isOpen: true };
  if (endpoint.nodeName === 'fluvia-east')
    return { clusterID: 'e'.repeat(26), peer: 'east', address: '10.244.3.5', isOpen: true };
  if (endpoint.nodeName === 'fluvia-west')
    return { clusterID: WEST, peer: 'west', address: '10.244.4.5', isOpen: true };
  return undefined;
};

describe('reflection', () => {
  it('reduces a Service to what home did not allocate', () => {
    const item = planServiceItem(service());
    expect(item).toMatchObject({
      kind: 'Service',
      body: { spec: { type: 'ClusterIP', ports: [{ port: 80 }], selector: { app: 'web' } } },
    });
    expect(JSON.stringify(item)).not.toMatch(/30080|10\.96/);
    expect(planServiceItem(service({ clusterIP: 'None' }))).toMatchObject({
      body: { spec: { clusterIP: 'None' } },
    });
    expect(OBJECTS.schema.safeParse(item).success).toBe(true);
  });

  it('leaves out what has opted out and what is only a name', () => {
    expect(isReflectedService(service())).toBe(true);
    expect(isReflectedService(service({}, { 'fluvia.dev/skip-reflection': 'true' }))).toBe(false);
    expect(isReflectedService(service({ type: 'ExternalName', externalName: 'x' }))).toBe(false);
  });

  it('lists the endpoints that are not at the peer, with real addresses', () => {
    const item = planSliceItem(slice(), 'east', findOrigin);
    expect(item?.endpoints).toEqual([
      { clusterID: HOME, address: '10.244.0.5', ready: true },
      { clusterID: WEST, address: '10.244.4.5', hostname: 'web-1', ready: false },
    ]);
    expect(OBJECTS.schema.safeParse(item).success).toBe(true);
    const closed = planSliceItem(slice(), 'east', (endpoint, address) => {
      const origin = findOrigin(endpoint, address);
      return origin && { ...origin, isOpen: false };
    });
    expect(closed?.endpoints[0]?.ready).toBe(false);
  });

  it.each<[string, Partial<EndpointSlice>]>([
    ['IPv6', { addressType: 'IPv6' }],
    ['nothing elsewhere', { endpoints: [{ addresses: ['10.61.0.5'], nodeName: 'fluvia-east' }] }],
    [
      'one of our own',
      {
        metadata: {
          name: 'x',
          namespace: 'shop',
          labels: {
            'kubernetes.io/service-name': 'web',
            'endpointslice.kubernetes.io/managed-by': 'endpointslice.fluvia.dev',
          },
        },
      },
    ],
    ['one without a Service', { metadata: { name: 'x', namespace: 'shop' } }],
  ])('no item for %s', (_, overrides) => {
    expect(planSliceItem(slice(overrides), 'east', findOrigin)).toBeUndefined();
  });

  it('offers only home’s endpoints, with the ports of all slices', () => {
    const items = [slice(), slice({ ports: [{ port: 9090 }] })].flatMap(
      (s) => planSliceItem(s, 'east', findOrigin) ?? [],
    );
    expect(planEndpointOffers(items, HOME)).toEqual([
      {
        cidr: '10.244.0.5/32',
        ports: [
          { protocol: 'TCP', port: 8080 },
          { protocol: 'TCP', port: 9090 },
        ],
      },
    ]);
    const all = items.map((item) => ({ ...item, ports: [] }));
    expect(planEndpointOffers(all, HOME)).toEqual([{ cidr: '10.244.0.5/32' }]);
  });

  it('tokens of home’s API never leave it', () => {
    const meta = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'shop' } };
    expect(
      planConfigItem('Secret', { ...meta, type: 'kubernetes.io/service-account-token' }),
    ).toBeUndefined();
    expect(planConfigItem('Secret', { ...meta, type: 'Opaque', data: { a: 'YQ==' } })).toMatchObject({
      body: { type: 'Opaque', data: { a: 'YQ==' } },
    });
  });

  it('knows what is announced', () => {
    expect(isAnnounced('10.244.1.1', ['10.244.0.0/16'])).toBe(true);
    expect(isAnnounced('198.18.0.2', ['10.244.0.0/16'])).toBe(false);
    expect(isAnnounced('198.18.0.2', undefined)).toBe(true);
  });
});
