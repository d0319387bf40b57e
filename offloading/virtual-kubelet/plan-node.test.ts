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
    terms: {
      zone: 'z1',
      labels: { 'example.com/gpu': 'a', 'node-role.kubernetes.io/control-plane': '', [LABELS.peer]: 'evil' },
    },
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
  it('always has a zone, and no label that only home may give', () => {
    const { labels, providerID } = planNodeSpec(world());
    expect(labels).toMatchObject({
      'topology.kubernetes.io/zone': 'z1',
      [LABELS.peer]: 'east',
      'example.com/gpu': 'a',
    });
    expect(labels).not.toHaveProperty(['node-role.kubernetes.io/control-plane']);
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
