import { describe, expect, it } from 'vitest';
import { COLLECTIONS, OBJECTS, SHADOWS } from './collections.ts';
import { isConditionTrue, setCondition } from './conditions.ts';
import { ClaimKind } from './v1alpha1/claim.ts';
import { GatewayKind } from './v1alpha1/gateway.ts';
import { InviteKind } from './v1alpha1/invite.ts';
import { NamespaceOffloadingKind } from './v1alpha1/namespace-offloading.ts';
import { NetworkConfigKind } from './v1alpha1/network-config.ts';
import { PeerKind } from './v1alpha1/peer.ts';

const PIN = 'a'.repeat(64);
const ID = 'b'.repeat(26);

describe('specs', () => {
  it('fill in their defaults', () => {
    expect(PeerKind.spec.parse({ clusterID: ID, pins: [PIN], roles: ['Provider'] })).toMatchObject({
      endpoints: [],
      paused: false,
      cordoned: false,
    });
    expect(NamespaceOffloadingKind.spec.parse({})).toEqual({ strategy: 'LocalAndRemote', mapping: 'auto' });
    expect(NetworkConfigKind.spec.parse({ podCIDRs: ['10.244.0.0/16'] })).toMatchObject({
      externalCIDR: '10.70.0.0/16',
      wireguardPort: 51820,
      open: [],
    });
  });

  it.each([
    ['a cluster ID of the wrong length', PeerKind, { clusterID: 'b', pins: [PIN], roles: ['Provider'] }],
    ['three pins', PeerKind, { clusterID: ID, pins: [PIN, PIN, PIN], roles: ['Provider'] }],
    ['an unknown role', PeerKind, { clusterID: ID, pins: [PIN], roles: ['Friend'] }],
    ['no endpoint', InviteKind, { publicKey: 'k', expiresAt: 'x', roles: ['Consumer'], endpoints: [] }],
    ['a negative amount', ClaimKind, { peer: 'east', resources: { cpu: '-1' } }],
    ['a peer that is no DNS label', ClaimKind, { peer: 'East!' }],
    ['a port beyond 65535', GatewayKind, { listenPort: 65536 }],
    ['a range that is no CIDR', NetworkConfigKind, { podCIDRs: ['10.244.0.0'] }],
    ['no pod range', NetworkConfigKind, { podCIDRs: [] }],
  ] as const)('refuse %s', (_, kind, spec) => {
    expect(kind.spec.safeParse(spec).success).toBe(false);
  });
});

describe('conditions', () => {
  const input = { type: 'Ready', status: 'True', reason: 'Ok', message: 'all is well' } as const;

  it('move their transition time only with the status', () => {
    const first = setCondition(undefined, input, 't1');
    expect(setCondition(first, { ...input, message: 'still' }, 't2')[0]?.lastTransitionTime).toBe('t1');
    expect(setCondition(first, { ...input, status: 'False' }, 't2')[0]?.lastTransitionTime).toBe('t2');
  });

  it('keep the others and their order, so that an equal state is an equal object', () => {
    const two = setCondition(setCondition(undefined, input, 't'), { ...input, type: 'Alive' }, 't');
    expect(two.map((c) => c.type)).toEqual(['Alive', 'Ready']);
    expect(setCondition(two, input, 't9')).toEqual(two);
    expect(isConditionTrue(two, 'Ready')).toBe(true);
    expect(isConditionTrue(two, 'Other')).toBe(false);
  });
});

describe('what crosses a peering', () => {
  it('has names of its own and bounds', () => {
    expect(new Set(COLLECTIONS.map((c) => c.name)).size).toBe(COLLECTIONS.length);
    for (const { maxItems, maxItemBytes, maxBytes } of COLLECTIONS) {
      expect(maxItems).toBeGreaterThan(0);
      expect(maxItemBytes).toBeGreaterThan(0);
      // A largest item fits, and what it becomes when parsed.
      expect(maxBytes).toBeGreaterThan(maxItemBytes * 3);
    }
  });

  it('drops fields that this version does not know', () => {
    const shadow = { uid: 'u', node: 'n', claim: 'c', labels: {}, annotations: {}, spec: { containers: [] } };
    expect(SHADOWS.schema.parse({ ...shadow, fromTheFuture: 1 })).toEqual(shadow);
  });

  it('refuses kinds that may not be reflected', () => {
    const object = { namespace: 'a', name: 'b', uid: 'u', labels: {}, annotations: {}, body: {} };
    expect(OBJECTS.schema.safeParse({ ...object, kind: 'ConfigMap' }).success).toBe(true);
    expect(OBJECTS.schema.safeParse({ ...object, kind: 'ClusterRoleBinding' }).success).toBe(false);
  });
});
