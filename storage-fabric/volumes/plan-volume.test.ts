import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node } from '../../runtime/kube/types.ts';
import { planPeerVolume, type PeerVolumeWorld } from './plan-peer-volume.ts';
import { planVolume, type VolumeWorld } from './plan-volume.ts';
import type { VolumeStatusItem } from './volume-items.ts';
import { SELECTED_NODE } from '../../api/unmade-volume.ts';

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
  metadata: { name: `fluvia-${ID}`, uid: 'p', annotations: { 'fluvia.dev/epoch': '3', ...annotations } },
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
  homeClaim: undefined,
  real: undefined,
  reclaimPolicy: 'Delete',
  nodes: [node('n1'), node('e1', 'east'), node('e2', 'east'), node('w1', 'west')],
  peers: new Set(['@home', 'east', 'west']),
  open: new Set(['@home', 'east', 'west']),
  told: new Map(),
  heard: new Set(['@home', 'east', 'west']),
  ...more,
});

describe('planVolume', () => {
  it('says of a volume that holds something never that it is to be made, whatever is heard', () => {
    const at = (told: [string, VolumeStatusItem][], conditions: unknown[] = []) =>
      planVolume(
        world({
          claim: { ...claim(), status: { phase: 'Bound', conditions } } as PersistentVolumeClaim,
          volume: volume({ 'fluvia.dev/location': 'east' }),
          told: new Map(told),
        }),
      ).condition;
    const said = { type: 'fluvia.dev/Volume', status: 'True', reason: 'AtPeer' };
    // a leader that has just begun: what the one before said stays
    expect(at([], [said])).toBeUndefined();
    expect(at([])).toMatchObject({ reason: 'NotHeard' });
    expect(at([], [{ ...said, status: 'False', reason: 'Moving' }])).toMatchObject({ reason: 'NotHeard' });
    const pending = { uid: 'u', phase: 'Pending', reason: 'NoTwin', message: 'no twin' } as const;
    expect(at([['east', pending]], [said])).toEqual({
      status: 'False',
      reason: 'NoTwin',
      message: 'it is at peer east, which has it not ready: no twin',
    });
    expect(at([['east', { uid: 'u', phase: 'Bound' }]])).toMatchObject({ reason: 'AtPeer' });
  });

  it('labels first, and makes the placeholder once the label is seen', () => {
    const first = planVolume(world({ claim: claim('e2') }));
    expect(first).toMatchObject({ label: ['e1', 'e2'], create: undefined });
    const nodes = [node('n1'), node('e1', 'east', true), node('e2', 'east', true), node('w1', 'west')];
    const second = planVolume(world({ claim: claim('e2'), nodes }));
    expect(second.label).toEqual([]);
    expect(second.create?.metadata.annotations).toMatchObject({ 'fluvia.dev/location': 'east' });
    expect(second.create?.spec.claimRef?.uid).toBe('u');
  });

  it('goes to no peer that does not know the namespace, whoever chose its node', () => {
    const plan = planVolume(world({ claim: claim('e2'), open: new Set(['@home', 'west']) }));
    expect(plan).toMatchObject({ label: [], create: undefined, condition: { reason: 'Pending' } });
    expect(plan.publish?.size).toBe(0);
  });

  it('does nothing before the scheduler has chosen', () => {
    expect(planVolume(world({ claim: claim() }))).toMatchObject({
      label: [],
      create: undefined,
      unselect: undefined,
    });
  });

  it('refuses block volumes and clones', () => {
    for (const spec of [{ volumeMode: 'Block' }, { dataSource: { name: 'x' } }])
      expect(planVolume(world({ claim: claim('e1', spec) })).condition?.reason).toBe('UnsupportedClaim');
  });

  it('takes ReadWriteOncePod, which only home keeps', () => {
    const placed = volume({ 'fluvia.dev/location': 'east' });
    const spec = { ...placed.spec, accessModes: ['ReadWriteOncePod'] };
    const plan = planVolume(world({ claim: claim('e1'), volume: { ...placed, spec } }));
    expect(plan.publish?.get('east')?.accessModes).toEqual(['ReadWriteOnce']);
    const own = claim('e1', { accessModes: ['ReadWriteOncePod'] });
    const nodes = [node('e1', 'east', true)];
    expect(planVolume(world({ claim: own, nodes })).create?.spec.accessModes).toEqual(['ReadWriteOncePod']);
  });

  it('makes no second volume for a claim that had one, and says nothing that would end it', () => {
    const lost = { ...claim('e1', { volumeName: `fluvia-${ID}` }), status: { phase: 'Lost' } };
    const told = new Map([['east', { uid: 'u', phase: 'Bound' as const }]]);
    const { condition, ...plan } = planVolume(world({ claim: lost, told }));
    expect(plan).toMatchObject({ create: undefined, unknown: { state: 'unknown', uid: 'u', size: '2Gi' } });
    expect(condition?.reason).toBe('Lost');
    expect(condition?.message).toMatch(/is gone.*peer east has it.*put it back/);
    // Once the claim goes, its end is meant.
    expect(planVolume(world({ told })).unknown).toBeUndefined();
  });

  it('does the same where the placeholder has lost its annotations', () => {
    const plan = planVolume(world({ claim: claim('e1'), volume: volume({}) }));
    expect(plan).toMatchObject({ unknown: { state: 'unknown' }, condition: { reason: 'Lost' } });
  });

  it('gives the choice of a node back that is gone', () => {
    const plan = planVolume(world({ claim: claim('gone-7') }));
    expect(plan).toMatchObject({ create: undefined, unselect: { reason: 'NodeGone' } });
    expect(plan.unselect?.message).toContain('gone-7');
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
    expect(plan.publish?.get('east')).toMatchObject({ state: 'retained', epoch: 3 });
    expect(plan.publish?.get('west')).toMatchObject({ state: 'restoring', epoch: 3 });
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
          const active = [...(plan.publish ?? [])].filter(([, item]) => item.state === 'active');
          const isOne = active.length <= 1 && active.every(([peer]) => peer === location);
          const isHeld = move === null || active.length === 0;
          return isOne && isHeld && (plan.label.length === 0 || active.length === 1);
        },
      ),
    );
  });

  it('remembers that it was made, so that it is never made anew where it is gone', () => {
    const at = { 'fluvia.dev/location': 'east', 'fluvia.dev/epoch': '1' };
    const bound = new Map([['east', { uid: 'u', phase: 'Bound' as const }]]);
    const isMade = (more: Partial<VolumeWorld>) =>
      planVolume(world({ claim: claim('e1'), volume: volume(at), ...more }));
    expect(isMade({})).toMatchObject({ markMade: false });
    expect(isMade({}).publish?.get('east')?.mustExist).toBeUndefined();
    expect(isMade({ told: bound })).toMatchObject({ markMade: true });
    const marked = volume({ ...at, 'fluvia.dev/made': 'true' });
    expect(isMade({ told: bound, volume: marked })).toMatchObject({ markMade: false });
    expect(isMade({ volume: marked }).publish?.get('east')?.mustExist).toBe(true);
    // moved there, so it was filled there
    expect(
      isMade({ volume: volume({ ...at, 'fluvia.dev/epoch': '2' }) }).publish?.get('east')?.mustExist,
    ).toBe(true);
  });

  it('is offered nowhere once its peer has lost it, and says so', () => {
    const told = new Map([
      ['east', { uid: 'u', phase: 'Failed' as const, reason: 'Lost', message: 'its claim was deleted' }],
    ]);
    const nodes = [node('e1', 'east', true)];
    const at = { 'fluvia.dev/location': 'east', 'fluvia.dev/made': 'true' };
    expect(planVolume(world({ claim: claim('e1'), volume: volume(at), told, nodes }))).toMatchObject({
      unlabel: ['e1'],
      condition: { status: 'False', reason: 'Lost', message: 'peer east: its claim was deleted' },
    });
    const loss = volume({ ...at, 'fluvia.dev/loss': 'no copy' });
    expect(planVolume(world({ claim: claim('e1'), volume: loss, told, nodes })).condition).toMatchObject({
      reason: 'Lost',
      message: 'no copy',
    });
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

describe('a volume at home', () => {
  const homeClaim: PersistentVolumeClaim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: `fluvia-${ID}`,
      namespace: 'fluvia-system',
      uid: 'h',
      labels: { 'fluvia.dev/volume': ID, 'app.kubernetes.io/managed-by': 'fluvia' },
      annotations: { 'fluvia.dev/claim': 'shop/data' },
    },
    spec: { volumeName: 'pvc-1' },
    status: { phase: 'Bound' },
  };
  const real = (policy: string, annotations: Record<string, string> = {}): PersistentVolume => ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'pvc-1', annotations },
    spec: {
      capacity: { storage: '3Gi' },
      claimRef: { uid: 'h' },
      persistentVolumeReclaimPolicy: policy,
      local: { path: '/disk/1' },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['n1'] }] },
          ],
        },
      },
    },
  });
  const kept = real('Retain', { 'fluvia.dev/reclaim-policy': 'Delete' });
  const host = (name: string, labelled = false): Node => {
    const made = node(name, undefined, labelled);
    const labels = { ...made.metadata.labels, 'kubernetes.io/hostname': name };
    return { ...made, metadata: { ...made.metadata, labels } };
  };
  const nodes = [host('n1'), host('n2'), node('e1', 'east')];
  const base = { claim: claim('n1'), nodes };

  it('is asked for with the node that the scheduler chose', () => {
    const plan = planVolume(world(base));
    expect(plan.publish?.get('@home')).toMatchObject({ node: 'n1', state: 'active', epoch: 1 });
    expect(plan).toMatchObject({ create: undefined, keep: undefined, label: [] });
  });

  it('outlives its claim before anything uses it; then label, then PersistentVolume', () => {
    expect(planVolume(world({ ...base, homeClaim, real: real('Delete') }))).toMatchObject({
      keep: { metadata: { name: 'pvc-1' } },
      create: undefined,
    });
    expect(planVolume(world({ ...base, homeClaim, real: kept }))).toMatchObject({
      label: ['n1'],
      create: undefined,
    });
    const labelled = [host('n1', true), host('n2'), node('e1', 'east')];
    const { create } = planVolume(world({ ...base, nodes: labelled, homeClaim, real: kept }));
    expect(create?.spec).toMatchObject({
      local: { path: '/disk/1' },
      capacity: { storage: '3Gi' },
      claimRef: { uid: 'u' },
      persistentVolumeReclaimPolicy: 'Delete',
    });
    expect(create?.metadata.annotations).toMatchObject({
      'fluvia.dev/location': '@home',
      'fluvia.dev/real-volume': 'pvc-1',
    });
    const placed = planVolume(
      world({
        ...base,
        nodes: labelled,
        homeClaim,
        real: kept,
        volume: { ...create, metadata: { ...create?.metadata, uid: 'p' } } as PersistentVolume,
      }),
    );
    expect(placed).toMatchObject({ label: [], unlabel: [], create: undefined });
    expect(placed.publish?.get('@home')).toMatchObject({ state: 'active' });
  });

  it('never takes the source of a volume that is not the one of our claim', () => {
    for (const other of [
      { ...kept, spec: { ...kept.spec, claimRef: { uid: 'other' } } },
      { ...kept, metadata: { ...kept.metadata, name: 'pvc-2' } },
    ])
      expect(planVolume(world({ ...base, homeClaim, real: other }))).toMatchObject({
        create: undefined,
        keep: undefined,
        label: [],
      });
    const foreign = { ...homeClaim, metadata: { ...homeClaim.metadata, labels: {} } };
    expect(planVolume(world({ ...base, homeClaim: foreign, real: kept })).label).toEqual([]);
  });

  it('gives the choice back where it can not be made', () => {
    const told = new Map([['@home', { uid: 'u', phase: 'Failed', reason: 'NoStorageClass' } as const]]);
    const plan = planVolume(world({ ...base, told }));
    expect(plan.unselect?.reason).toBe('NoStorageClass');
    expect(plan.publish?.size).toBe(0);
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
    isOwn: false,
    claimName: 'data',
    wanted,
    isComplete: true,
    twin: 'shop',
    claim: undefined,
    obstacle: undefined,
    hasDefaultClass: true,
    warning: undefined,
    ageMs: 60_000,
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

  it('keeps what it has as it is where home has lost the word', () => {
    const { create: made } = planPeerVolume(base);
    const unknown = { ...wanted, epoch: 0, state: 'unknown' as const };
    const kept = planPeerVolume({ ...base, claim: made, wanted: unknown });
    expect(kept).toMatchObject({ annotate: undefined, deleteClaim: false, status: { state: 'active' } });
    for (const twin of ['shop', undefined])
      expect(planPeerVolume({ ...base, twin, wanted: unknown })).toMatchObject({
        create: undefined,
        status: { phase: 'Gone' },
      });
  });

  it('says in which state a claim was seen, which is not the one that is wanted by now', () => {
    const made = { ...base, claim: planPeerVolume(base).create };
    expect(planPeerVolume(made).status).toMatchObject({ phase: 'Pending', state: 'active' });
    const back = { ...wanted, state: 'retained' as const };
    expect(planPeerVolume({ ...made, wanted: back })).toMatchObject({
      annotate: { 'fluvia.dev/volume-state': 'retained' },
      status: { phase: 'Pending', state: 'active' },
    });
    expect(planPeerVolume({ ...base, wanted: back }).status).toMatchObject({
      phase: 'Gone',
      state: 'retained',
    });
  });

  it('of its own gives the claim the chosen node, and starts over when that changed', () => {
    const own = { ...base, isOwn: true, claimName: `fluvia-${ID}`, twin: 'fluvia-system' };
    const { create } = planPeerVolume({ ...own, wanted: { ...wanted, node: 'n1' } });
    expect(create?.metadata).toMatchObject({
      name: `fluvia-${ID}`,
      namespace: 'fluvia-system',
      annotations: { [SELECTED_NODE]: 'n1', 'fluvia.dev/claim': 'shop/data' },
    });
    const made = { ...own, claim: create };
    expect(planPeerVolume({ ...made, wanted: { ...wanted, node: 'n1' } }).deleteClaim).toBe(false);
    expect(planPeerVolume({ ...made, wanted: { ...wanted, node: 'n2' } }).deleteClaim).toBe(true);
    const annotations = { ...create?.metadata.annotations };
    delete annotations[SELECTED_NODE];
    const refused = { ...create, metadata: { ...create?.metadata, annotations } } as PersistentVolumeClaim;
    expect(planPeerVolume({ ...own, claim: refused, wanted: { ...wanted, node: 'n1' } })).toMatchObject({
      deleteClaim: false,
      status: { reason: 'NodeRefused' },
    });
    // another node may have it, and after a while the same one
    expect(planPeerVolume({ ...own, claim: refused, wanted: { ...wanted, node: 'n2' } }).deleteClaim).toBe(
      true,
    );
    expect(
      planPeerVolume({ ...own, claim: refused, ageMs: 601_000, wanted: { ...wanted, node: 'n1' } })
        .deleteClaim,
    ).toBe(true);
    // bound, it stays whatever the scheduler thinks of next
    const bound = { ...create, spec: { ...create?.spec, volumeName: 'pvc-1' } } as PersistentVolumeClaim;
    expect(planPeerVolume({ ...own, claim: bound, wanted: { ...wanted, node: 'n2' } }).deleteClaim).toBe(
      false,
    );
  });

  it('makes no empty volume for one that is placed at home', () => {
    const placed = { ...wanted, mustExist: true };
    const own = { ...base, isOwn: true, claimName: `fluvia-${ID}`, wanted: placed };
    expect(planPeerVolume(own)).toMatchObject({
      create: undefined,
      status: { phase: 'Failed', reason: 'ClaimGone' },
    });
  });

  it('makes no empty volume where one that was made is gone', () => {
    const placed = { ...wanted, mustExist: true };
    expect(planPeerVolume({ ...base, wanted: placed })).toMatchObject({
      create: undefined,
      status: { phase: 'Failed', reason: 'Lost' },
    });
    // a restore fills it
    expect(planPeerVolume({ ...base, wanted: { ...placed, state: 'restoring' } }).create).toBeDefined();
  });

  it('never makes a moved-away copy anew', () => {
    expect(planPeerVolume({ ...base, wanted: { ...wanted, state: 'retained' } })).toMatchObject({
      create: undefined,
      status: { phase: 'Gone' },
    });
  });
});
