import { describe, expect, it } from 'vitest';
import { LABELS } from '../../api/labels.ts';
import type { Claim } from '../../api/v1alpha1/claim.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { Node } from '../../runtime/kube/types.ts';
import {
  freePort,
  isStatusStale,
  planNodeSpec,
  planNodeStatus,
  planReady,
  type NodeWorld,
} from './plan-node.ts';

const NOW = '2026-11-25T01:00:00.000Z';
const granted = {
  type: 'Granted',
  status: 'True' as const,
  reason: 'G',
  message: '',
  lastTransitionTime: NOW,
};
const typeMeta = { apiVersion: 'fluvia.dev/v1alpha1' };

const peer: Peer = {
  ...typeMeta,
  kind: 'Peer',
  metadata: { name: 'east' },
  spec: {
    clusterID: 'e'.repeat(26),
    pins: [],
    endpoints: [],
    roles: ['Provider'],
    paused: false,
    cordoned: false,
  },
  status: { conditions: [{ ...granted, type: 'NetworkReady' }] },
};
const claim: Claim = {
  ...typeMeta,
  kind: 'Claim',
  metadata: { name: 'east' },
  spec: { peer: 'east' },
  status: {
    granted: { cpu: '3500m', memory: '1024Mi' },
    conditions: [granted],
    terms: { zone: 'z1', region: 'r1', architectures: ['arm64'] },
  },
};

const world = (overrides: Partial<NodeWorld> = {}): NodeWorld => ({
  virtualNode: {
    ...typeMeta,
    kind: 'VirtualNode',
    metadata: { name: 'fluvia-east' },
    spec: { peer: 'east', claim: 'east', cordoned: false },
  },
  claim,
  peer,
  link: 'up',
  podIP: '10.244.0.7',
  port: 10260,
  existing: undefined,
  now: NOW,
  ...overrides,
});

const nodeWith = (status: Node['status']): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'fluvia-east' },
  spec: {},
  status,
});

describe('the virtual Node', () => {
  const labelled = (labels: Record<string, string>, more: Partial<NodeWorld> = {}) => {
    const { virtualNode } = world();
    const spec = { ...virtualNode.spec, labels };
    return planNodeSpec(world({ virtualNode: { ...virtualNode, spec }, ...more })).labels;
  };
  /** Whatever a peer sends as terms, also what no schema lets through. */
  const told = (terms: object): Claim => ({ ...claim, status: { ...claim.status, terms } });

  it('has no label of its peer’s choosing: pods that are pinned to nodes by labels stay', () => {
    const evil = told({
      zone: 'z1',
      labels: { pci: 'true', 'example.com/gpu': 'a', 'topology.kubernetes.io/zone': 'z2' },
      pci: 'true',
    });
    expect(planNodeSpec(world({ claim: evil })).labels).toEqual({
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': 'amd64',
      'kubernetes.io/hostname': 'fluvia-east',
      'topology.kubernetes.io/zone': 'z1',
      'node.kubernetes.io/exclude-from-external-load-balancers': 'true',
      'node.kubernetes.io/exclude-disruption': 'true',
      [LABELS.virtualNode]: 'true',
      [LABELS.peer]: 'east',
    });
  });

  it('has the labels that home gives it, but for those that Fluvia needs', () => {
    expect(
      labelled({
        tier: 'spot',
        'node-role.kubernetes.io/control-plane': '',
        'kubernetes.io/arch': 's390x',
        [LABELS.peer]: 'west',
      }),
    ).toMatchObject({ tier: 'spot', [LABELS.peer]: 'east', 'kubernetes.io/arch': 'arm64' });
    expect(labelled({ 'node-role.kubernetes.io/control-plane': '' })).not.toHaveProperty([
      'node-role.kubernetes.io/control-plane',
    ]);
  });

  it('always has a zone, that of home’s choosing first', () => {
    const { labels, providerID } = planNodeSpec(world());
    expect(labels).toMatchObject({
      'topology.kubernetes.io/zone': 'z1',
      'topology.kubernetes.io/region': 'r1',
    });
    expect(
      labelled({ 'topology.kubernetes.io/zone': 'mine', 'topology.kubernetes.io/region': 'my' }),
    ).toMatchObject({ 'topology.kubernetes.io/zone': 'mine', 'topology.kubernetes.io/region': 'my' });
    expect(planNodeSpec(world({ claim: undefined })).labels['topology.kubernetes.io/zone']).toBe(
      'fluvia-east',
    );
    expect(providerID).toBe(`fluvia://${'e'.repeat(26)}/east`);
  });

  it('is cordoned with its peer', () => {
    expect(planNodeSpec(world()).unschedulable).toBe(false);
    expect(
      planNodeSpec(world({ peer: { ...peer, spec: { ...peer.spec, cordoned: true } } })).unschedulable,
    ).toBe(true);
  });

  it.each<[string, Partial<NodeWorld>, string, string]>([
    ['link up, granted', {}, 'True', 'PeerReady'],
    ['not granted', { claim: undefined }, 'False', 'NotGranted'],
    ['lost', { link: 'lost' }, 'False', 'PeerUnreachable'],
    ['unsure at the beginning', { link: 'unsure' }, 'False', 'PeerConnecting'],
    [
      'unsure after it was ready',
      { link: 'unsure', existing: nodeWith({ conditions: [{ type: 'Ready', status: 'True' }] }) },
      'True',
      'PeerReady',
    ],
    [
      'unsure after it was lost',
      { link: 'unsure', existing: nodeWith({ conditions: [{ type: 'Ready', status: 'False' }] }) },
      'False',
      'PeerConnecting',
    ],
  ])('%s', (_, overrides, status, reason) => {
    expect(planReady(world(overrides))).toMatchObject({ status, reason });
  });

  it('writes its status only when it says something else, or every five minutes', () => {
    const desired = planNodeStatus(world());
    // As the API server stores it: quantities in its own words.
    const stored = nodeWith({
      ...desired,
      capacity: { cpu: '3500m', memory: '1Gi', pods: '110' },
      allocatable: { cpu: '3.5', memory: '1Gi', pods: '110' },
    });
    const at = (ms: number) => Date.parse(NOW) + ms;
    const again = (ms: number, overrides: Partial<NodeWorld> = {}) =>
      isStatusStale(
        stored,
        planNodeStatus(world({ existing: stored, now: new Date(at(ms)).toISOString(), ...overrides })),
        at(ms),
      );
    expect(again(60_000)).toBe(false);
    expect(again(301_000)).toBe(true);
    expect(again(1000, { link: 'lost' })).toBe(true);
    expect(again(1000, { podIP: '10.244.0.8' })).toBe(true);
    expect(again(1000, { peer: { ...peer, status: {} } })).toBe(true);
  });

  it('ports do not collide', () => {
    expect(freePort([])).toBe(10260);
    expect(freePort([10261, undefined, 10260])).toBe(10262);
  });
});
