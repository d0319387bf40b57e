import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node } from '../../runtime/kube/types.ts';
import { planPeerVolume, type PeerVolumeWorld } from './plan-peer-volume.ts';
import { planVolume, SELECTED_NODE, type VolumeWorld } from './plan-volume.ts';

const ID = 'v0123456789abcdef';
const LABEL = `fluvia.dev/volume-${ID}`;
const node = (name: string, peer?: string, labelled = false): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name,
    labels: {
      ...(peer === undefined ? {} : { 'fluvia.dev/virtual-node': 'true', 'fluvia.dev/peer': peer }),
      ...(labelled ? { [LABEL]: 'true' } : {}),
    },
  },
  spec: {},
});
const claim = (selected?: string, spec: Record<string, unknown> = {}): PersistentVolumeClaim => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: {
    name: 'data',
    namespace: 'shop',
    uid: 'u',
    annotations: selected === undefined ? {} : { [SELECTED_NODE]: selected },
  },
  spec: { storageClassName: 'fluvia', resources: { requests: { storage: '2Gi' } }, ...spec },
});
const volume = (annotations: Record<string, string>): PersistentVolume => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: `fluvia-${ID}`, annotations: { 'fluvia.dev/epoch': '3', ...annotations } },
  spec: {
    capacity: { storage: '2Gi' },
    accessModes: ['ReadWriteOnce'],
    claimRef: { namespace: 'shop', name: 'data', uid: 'u' },
    persistentVolumeReclaimPolicy: 'Delete',
  },
});
const world = (more: Partial<VolumeWorld> = {}): VolumeWorld => ({
  id: ID,
  claim: undefined,
  volume: undefined,
  reclaimPolicy: 'Delete',
  nodes: [node('n1'), node('e1', 'east'), node('e2', 'east'), node('w1', 'west')],
  peers: new Set(['east', 'west']),
  told: new Map(),
  heard: new Set(['east', 'west']),
  ...more,
});

describe('planVolume', () => {
  it('labels first, and makes the placeholder once the label is seen', () => {
    const first = planVolume(world({ claim: claim('e2') }));
    expect(first).toMatchObject({ label: ['e1', 'e2'], create: undefined });
    const nodes = [node('n1'), node('e1', 'east', true), node('e2', 'east', true), node('w1', 'west')];
    const second = planVolume(world({ claim: claim('e2'), nodes }));
    expect(second.label).toEqual([]);
    expect(second.create?.metadata.annotations).toMatchObject({ 'fluvia.dev/location': 'east' });
    expect(second.create?.spec.claimRef?.uid).toBe('u');
  });

  it('does nothing before the scheduler has chosen', () => {
    expect(planVolume(world({ claim: claim() }))).toMatchObject({ label: [], create: undefined });
  });

  it('refuses a node of home, block volumes and clones', () => {
    expect(planVolume(world({ claim: claim('n1') })).unselect?.reason).toBe('HomeVolumesUnsupported');
    for (const spec of [{ volumeMode: 'Block' }, { dataSource: { name: 'x' } }])
      expect(planVolume(world({ claim: claim('e1', spec) })).condition?.reason).toBe('UnsupportedClaim');
  });

  it('is usable nowhere while it moves', () => {
    const move = JSON.stringify({ stage: 'restore', to: 'west' });
    const plan = planVolume(
      world({
        claim: claim('e1'),
        volume: volume({ 'fluvia.dev/location': 'east', 'fluvia.dev/move': move }),
        nodes: [node('e1', 'east', true), node('w1', 'west')],
      }),
    );
    expect(plan.unlabel).toEqual(['e1']);
    expect(plan.label).toEqual([]);
    expect(plan.publish.get('east')).toMatchObject({ state: 'retained', epoch: 3 });
    expect(plan.publish.get('west')).toMatchObject({ state: 'restoring', epoch: 3 });
  });

  it('is active at one peer at most, whatever the annotations say', () => {
    const peers = fc.constantFrom('east', 'west', '');
    fc.assert(
      fc.property(
        peers,
        fc.array(peers),
        fc.option(fc.record({ stage: fc.constantFrom('stop', 'copy', 'restore'), to: peers })),
        (location, retained, move) => {
          const plan = planVolume(
            world({
              claim: claim('e1'),
              volume: volume({
                'fluvia.dev/location': location,
                'fluvia.dev/retained': retained.join(','),
                ...(move === null ? {} : { 'fluvia.dev/move': JSON.stringify(move) }),
              }),
            }),
          );
          const active = [...plan.publish].filter(([, item]) => item.state === 'active');
          const isOne = active.length <= 1 && active.every(([peer]) => peer === location);
          const isHeld = move === null || active.length === 0;
          return isOne && isHeld && (plan.label.length === 0 || active.length === 1);
        },
      ),
    );
  });

  it('lets the placeholder go when every holder has said so, or can not be asked any more', () => {
    const placed = { volume: volume({ 'fluvia.dev/location': 'east', 'fluvia.dev/retained': 'west' }) };
    const bound = { uid: 'u', phase: 'Bound' } as const;
    expect(planVolume(world({ ...placed, told: new Map([['west', bound]]) })).deletePlaceholder).toBe(false);
    expect(planVolume(world({ ...placed, heard: new Set(['west']) })).deletePlaceholder).toBe(false);
    expect(planVolume(world(placed)).deletePlaceholder).toBe(true);
    expect(
      planVolume(world({ ...placed, peers: new Set(['west']), heard: new Set(['west']) })).deletePlaceholder,
    ).toBe(true);
  });
});

describe('planPeerVolume', () => {
  const wanted = {
    namespace: 'shop',
    claimName: 'data',
    uid: 'u',
    size: '2Gi',
    accessModes: ['ReadWriteOnce' as const],
    volumeMode: 'Filesystem' as const,
    epoch: 1,
    state: 'active' as const,
  };
  const base: PeerVolumeWorld = {
    id: ID,
    clusterID: 'h'.repeat(26),
    wanted,
    isComplete: true,
    twin: 'shop',
    claim: undefined,
    obstacle: undefined,
    hasDefaultClass: true,
    warning: undefined,
  };

  it('makes it once, and nothing after that', () => {
    const { create } = planPeerVolume(base);
    expect(create?.metadata.labels).toMatchObject({ 'fluvia.dev/volume': ID });
    expect(planPeerVolume({ ...base, claim: create })).toMatchObject({
      create: undefined,
      annotate: undefined,
      deleteClaim: false,
    });
  });

  it('deletes only when the consumer has told everything', () => {
    const { create: made } = planPeerVolume(base);
    const gone = { ...base, wanted: undefined, claim: made };
    expect(planPeerVolume({ ...gone, isComplete: false }).deleteClaim).toBe(false);
    expect(planPeerVolume(gone).deleteClaim).toBe(true);
  });

  it('never makes a moved-away copy anew', () => {
    expect(planPeerVolume({ ...base, wanted: { ...wanted, state: 'retained' } })).toMatchObject({
      create: undefined,
      status: { phase: 'Gone' },
    });
  });
});
