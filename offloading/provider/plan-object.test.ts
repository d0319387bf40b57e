import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OBJECTS } from '../../api/collections.ts';
import { parseCidr, parseIp, cidrContainsIp } from '../../api/cidr.ts';
import { holds, planObject, type ObjectItem, type ObjectWorld } from './plan-object.ts';

const HOME = 'h'.repeat(26);
const OWN = 'o'.repeat(26);
const THIRD = 't'.repeat(26);
const VIEWS: Readonly<Record<string, string>> = { [HOME]: '10.128.0.0/16', [THIRD]: '10.129.0.0/16' };
const world = (more: Partial<ObjectWorld> = {}): ObjectWorld => ({
  clusterID: HOME,
  ownClusterID: OWN,
  twin: 'shop-home',
  viewOf: (id) => {
    const view = VIEWS[id];
    return view === undefined ? undefined : [{ purpose: 'Pod', real: '10.244.0.0/16', view }];
  },
  isAlive: () => true,
  ...more,
});
const item = (
  kind: 'Service' | 'ConfigMap' | 'Secret',
  body: Record<string, unknown>,
  name = 'web',
): ObjectItem => ({
  kind,
  namespace: 'shop',
  name,
  uid: 'u1',
  labels: { app: 'web', 'kubernetes.io/service-name': 'other' },
  annotations: { 'service.beta.kubernetes.io/aws-load-balancer-internal': 'true' },
  body,
});
const slice = (...endpoints: readonly [string, string, boolean?][]): ObjectItem => ({
  kind: 'EndpointSlice',
  namespace: 'shop',
  name: 'web-abc',
  uid: 'u2',
  service: 'web',
  ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
  endpoints: endpoints.map(([clusterID, address, ready = true]) => ({ clusterID, address, ready })),
});
const manifestOf = (one: ObjectItem, more: Partial<ObjectWorld> = {}): Record<string, unknown> => {
  const plan = planObject(one, world(more));
  if (!plan.ok) throw new Error(plan.message);
  return plan.manifest;
};

describe('planObject', () => {
  it('makes a plain ClusterIP Service, whatever home has', () => {
    const spec = {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      externalIPs: ['1.2.3.4'],
      loadBalancerIP: '1.2.3.4',
      loadBalancerClass: 'x',
      externalTrafficPolicy: 'Local',
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, targetPort: 'http', nodePort: 30000 }, { port: 'x' }],
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
    };
    expect(manifestOf(item('Service', { spec }))).toEqual({
      metadata: {
        name: 'web',
        namespace: 'shop-home',
        labels: { app: 'web', 'fluvia.dev/origin': HOME, 'fluvia.dev/reflected': 'true' },
        annotations: { 'fluvia.dev/origin-uid': 'u1' },
      },
      spec: {
        type: 'ClusterIP',
        selector: { app: 'web' },
        ports: [{ name: 'http', port: 80, targetPort: 'http' }],
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
      },
    });
  });

  it('keeps a headless Service headless and refuses names of elsewhere', () => {
    expect(manifestOf(item('Service', { spec: { clusterIP: 'None', selector: {} } }))['spec']).toEqual({
      type: 'ClusterIP',
      clusterIP: 'None',
      ports: [],
    });
    expect(
      planObject(item('Service', { spec: { type: 'ExternalName', externalName: 'x' } }), world()),
    ).toMatchObject({
      ok: false,
      reason: 'NotOffered',
    });
    expect(planObject(item('Service', {}), world())).toMatchObject({ ok: false, reason: 'InvalidObject' });
  });

  it('never widens a selector by leaving a part of it out', () => {
    const spec = { selector: { app: 'web', 'bad key': 'x' }, ports: [] };
    expect(manifestOf(item('Service', { spec }))['spec']).toMatchObject({
      selector: { 'fluvia.dev/origin-namespace': 'none' },
    });
  });

  it.each(['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])(
    'makes %s Opaque',
    (type) => {
      expect(manifestOf(item('Secret', { type, data: { a: 'YQ==', 'b/c': 'x', d: 1 } }))).toMatchObject({
        type: 'Opaque',
        data: { a: 'YQ==' },
      });
    },
  );

  it("leaves Kubernetes' own ConfigMap alone", () => {
    expect(planObject(item('ConfigMap', { data: {} }, 'kube-root-ca.crt'), world())).toMatchObject({
      ok: false,
    });
  });

  it('translates endpoints by the view of the cluster that owns them', () => {
    const plan = planObject(
      slice(
        [HOME, '10.244.1.2'],
        [THIRD, '10.244.1.2'],
        [OWN, '10.244.1.3'],
        ['x'.repeat(26), '10.244.1.4'],
        [HOME, '127.0.0.1'],
        [HOME, '10.244.1.9', false],
      ),
      world(),
    );
    expect(plan).toMatchObject({
      ok: true,
      dropped: [`10.244.1.4 of cluster ${'x'.repeat(26)}`, `127.0.0.1 of cluster ${HOME}`],
      manifest: {
        metadata: {
          labels: {
            'kubernetes.io/service-name': 'web',
            'endpointslice.kubernetes.io/managed-by': 'endpointslice.fluvia.dev',
          },
        },
        endpoints: [
          { addresses: ['10.128.1.2'], conditions: { ready: true } },
          { addresses: ['10.129.1.2'], conditions: { ready: true } },
          { addresses: ['10.128.1.9'], conditions: { ready: false } },
        ],
      },
    });
  });

  it('calls endpoints behind a broken link not ready', () => {
    const manifest = manifestOf(slice([HOME, '10.244.1.2'], [THIRD, '10.244.1.2']), {
      isAlive: (id) => id === THIRD,
    });
    expect(manifest['endpoints']).toMatchObject([
      { conditions: { ready: false } },
      { conditions: { ready: true } },
    ]);
  });

  it('points only into views, whatever a peer sends', () => {
    const ip = fc.oneof(
      fc.ipV4(),
      fc
        .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 255 }))
        .map(([a, b]) => `10.244.${a}.${b}`),
    );
    const endpoint = fc.record({
      clusterID: fc.constantFrom(HOME, OWN, THIRD, 'x'.repeat(26)),
      address: ip,
      ready: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(endpoint, { maxLength: 20 }), (endpoints) => {
        const one = { ...slice(), endpoints } as ObjectItem;
        fc.pre(OBJECTS.schema.safeParse(one).success);
        const made = manifestOf(one)['endpoints'] as readonly { readonly addresses: readonly string[] }[];
        for (const { addresses } of made) {
          const inside = Object.values(VIEWS).some((view) =>
            cidrContainsIp(parseCidr(view), parseIp(addresses[0] ?? '')),
          );
          expect(inside).toBe(true);
        }
      }),
    );
  });

  it('is idempotent: what was made holds, and hostile labels and fields never arrive', () => {
    const key = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'app',
        '__proto__',
        'kubernetes.io/x',
        'fluvia.dev/origin',
        'a.istio.io/b',
        'example.com/x',
      ),
    );
    const body = fc.oneof(
      fc.dictionary(
        fc.constantFrom('data', 'binaryData', 'type', 'immutable', 'spec', 'status'),
        fc.jsonValue(),
      ),
      fc.record({
        spec: fc.dictionary(
          fc.constantFrom(
            'type',
            'externalIPs',
            'clusterIP',
            'ports',
            'selector',
            'loadBalancerIP',
            'externalName',
          ),
          fc.jsonValue(),
        ),
      }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom('Service' as const, 'ConfigMap' as const, 'Secret' as const),
        fc.dictionary(key, fc.string()),
        body,
        (kind, labels, raw) => {
          const plan = planObject({ ...item(kind, raw), labels, annotations: labels } as ObjectItem, world());
          if (!plan.ok) return;
          const { manifest } = plan;
          expect(holds(manifest, manifest)).toBe(true);
          expect(holds(JSON.parse(JSON.stringify(manifest)), manifest)).toBe(true);
          const foreignLabels = Object.keys(manifest.metadata.labels).filter(
            (one) => /kubernetes\.io\/(?!$)|istio/.test(one) && !one.startsWith('app.kubernetes.io/'),
          );
          expect(foreignLabels).toEqual([]);
          expect(manifest.metadata.labels['fluvia.dev/origin']).toBe(HOME);
          expect(JSON.stringify(manifest['spec'] ?? {})).not.toMatch(
            /externalIPs|loadBalancerIP|externalName|nodePort/,
          );
        },
      ),
    );
  });
});

describe('holds', () => {
  it('ignores what the server adds, but not what should be gone', () => {
    const wanted = { metadata: { labels: { a: '1' } }, data: { x: '1' }, spec: { ports: [{ port: 80 }] } };
    expect(
      holds(
        {
          ...wanted,
          metadata: { labels: { a: '1' }, uid: 'u' },
          spec: { clusterIP: 'c', ports: [{ port: 80, protocol: 'TCP' }] },
        },
        wanted,
      ),
    ).toBe(true);
    expect(holds({ ...wanted, data: { x: '1', y: '2' } }, wanted)).toBe(false);
    expect(holds({ ...wanted, metadata: { labels: { a: '1', b: '2' } } }, wanted)).toBe(false);
    expect(holds({ ...wanted, spec: { ports: [{ port: 80 }, { port: 81 }] } }, wanted)).toBe(false);
    expect(holds(undefined, wanted)).toBe(false);
  });
});
