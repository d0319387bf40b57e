import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { whyKept } from './plan-own-claim.ts';
import {
  homeVolumeOf,
  isHomeSource,
  isKept,
  placeholderOf,
  recordOf,
  type Authority,
} from './plan-source.ts';
import { isSettled, planSwap, type SwapStep } from './plan-swap.ts';
import { planVolume, type VolumeWorld } from './plan-volume.ts';

const ID = 'v0123456789abcdef';
const NAME = `fluvia-${ID}`;

interface Cluster {
  claim: PersistentVolumeClaim | undefined;
  volume: PersistentVolume | undefined;
  homeClaim: PersistentVolumeClaim | undefined;
  real: PersistentVolume | undefined;
  versions: number;
}

const authority = (location: string, more: Record<string, string> = {}): Authority => ({
  annotations: { 'fluvia.dev/epoch': '4', 'fluvia.dev/location': location, ...more },
  size: '2Gi',
  accessModes: ['ReadWriteOnce'],
  reclaimPolicy: 'Delete',
  claim: { namespace: 'shop', name: 'data', uid: 'u' },
});
const real: PersistentVolume = {
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: 'pvc-1', uid: 'r', resourceVersion: '1' },
  spec: {
    capacity: { storage: '2Gi' },
    claimRef: { uid: 'h' },
    persistentVolumeReclaimPolicy: 'Delete',
    local: { path: '/disk/1' },
  },
};
const homeClaim: PersistentVolumeClaim = {
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: {
    name: NAME,
    namespace: 'fluvia-system',
    uid: 'h',
    resourceVersion: '1',
    labels: { 'fluvia.dev/volume': ID, 'app.kubernetes.io/managed-by': 'fluvia' },
    annotations: { 'fluvia.dev/claim': 'shop/data', 'fluvia.dev/origin-uid': 'u' },
  },
  spec: { volumeName: 'pvc-1' },
  status: { phase: 'Bound' },
};
const stored = (volume: PersistentVolume, uid: string, version: number): PersistentVolume => ({
  ...volume,
  metadata: {
    ...volume.metadata,
    uid,
    resourceVersion: String(version),
    finalizers: ['kubernetes.io/pv-protection'],
  },
});
/** A volume that has just come home (or left), while its PersistentVolume still has the source of before. */
const cluster = (to: 'home' | 'east'): Cluster => {
  const kept: PersistentVolume = {
    ...real,
    metadata: { ...real.metadata, annotations: { 'fluvia.dev/reclaim-policy': 'Delete' } },
    spec: { ...real.spec, persistentVolumeReclaimPolicy: 'Retain' },
  };
  return {
    claim: {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace: 'shop', uid: 'u', resourceVersion: '1' },
      spec: { volumeName: NAME, storageClassName: 'fluvia' },
      status: { phase: 'Bound' },
    },
    volume:
      to === 'home'
        ? stored(placeholderOf(ID, authority('@home', { 'fluvia.dev/retained': 'east' })), 'p1', 1)
        : stored(homeVolumeOf(ID, authority('east', { 'fluvia.dev/retained': '@home' }), kept), 'p1', 1),
    homeClaim,
    real: to === 'home' ? real : kept,
    versions: 10,
  };
};

const bump = <T extends { metadata: object }>(
  state: Cluster,
  object: T,
  change: object,
  more: object = {},
): T => ({
  ...object,
  ...more,
  metadata: { ...object.metadata, ...change, resourceVersion: String((state.versions += 1)) },
});
const withAnnotation = (
  state: Cluster,
  claim: PersistentVolumeClaim,
  key: string,
  value: string | undefined,
): PersistentVolumeClaim => {
  const { [key]: _old, ...rest } = claim.metadata.annotations ?? {};
  return bump(state, claim, { annotations: value === undefined ? rest : { ...rest, [key]: value } });
};
const isSame = (a: PersistentVolumeClaim | PersistentVolume | undefined, b: typeof a): boolean =>
  a !== undefined &&
  a.metadata.uid === b?.metadata.uid &&
  a.metadata.resourceVersion === b?.metadata.resourceVersion;

/** What the API server makes of a step; one whose precondition fails does nothing. */
const apply = (state: Cluster, step: SwapStep): void => {
  const { volume } = state;
  switch (step.do) {
    case 'keep':
      if (isSame(state.real, step.real) && state.real !== undefined)
        state.real = bump(
          state,
          state.real,
          { annotations: { 'fluvia.dev/reclaim-policy': 'Delete' } },
          { spec: { ...state.real.spec, persistentVolumeReclaimPolicy: 'Retain' } },
        );
      return;
    case 'record':
      if (isSame(state.homeClaim, step.homeClaim) && state.homeClaim !== undefined)
        state.homeClaim = withAnnotation(
          state,
          state.homeClaim,
          'fluvia.dev/swap',
          JSON.stringify(step.record),
        );
      return;
    case 'delete':
      if (volume?.metadata.uid === step.uid && volume.metadata.resourceVersion === step.resourceVersion)
        state.volume = bump(state, volume, { deletionTimestamp: 'now' });
      return;
    case 'release':
      if (isSame(volume, step.volume) && volume?.metadata.deletionTimestamp !== undefined)
        state.volume = undefined;
      return;
    case 'create':
      if (volume === undefined) {
        state.versions += 1;
        state.volume = stored(step.volume, `p${state.versions}`, state.versions);
      }
      return;
    case 'touch':
      if (isSame(state.claim, step.claim) && state.claim !== undefined)
        state.claim = withAnnotation(state, state.claim, 'fluvia.dev/rebound', step.uid);
      return;
    case 'forget':
      if (isSame(state.homeClaim, step.homeClaim) && state.homeClaim !== undefined)
        state.homeClaim = withAnnotation(state, state.homeClaim, 'fluvia.dev/swap', undefined);
      return;
    default:
  }
};

const annotationsOf = (state: Cluster): Readonly<Record<string, string>> | undefined =>
  state.volume?.metadata.annotations ?? recordOf(state.homeClaim)?.annotations;

const worldOf = (state: Cluster): VolumeWorld => ({
  id: ID,
  ...state,
  reclaimPolicy: 'Delete',
  nodes: [{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, spec: {} }],
  peers: new Set(['@home', 'east']),
  open: new Set(['@home', 'east']),
  told: new Map(),
  heard: new Set(['@home', 'east']),
});

describe('planSwap', () => {
  it.each(['home', 'east'] as const)('gives the PersistentVolume the source of its place: %s', (to) => {
    const state = cluster(to);
    const steps: string[] = [];
    for (let at = 0; at < 20; at += 1) {
      const step = planSwap({ id: ID, ...state });
      if (step.do === 'nothing') break;
      steps.push(step.do);
      apply(state, step);
    }
    expect(steps).toEqual([
      ...(to === 'home' ? ['keep'] : []),
      'record',
      'delete',
      'release',
      'create',
      'touch',
      'forget',
    ]);
    const { volume } = state;
    if (volume === undefined) throw new Error('no volume');
    expect(isSettled(volume)).toBe(true);
    expect(isHomeSource(volume)).toBe(to === 'home');
    expect(volume.metadata.annotations).toMatchObject({ 'fluvia.dev/epoch': '4' });
    expect(volume.spec.claimRef).toMatchObject({ uid: 'u', name: 'data' });
  });

  it('ends well whatever is seen late, killed, or written in between; the authority is never lost', () => {
    const to = fc.constantFrom('home' as const, 'east' as const);
    const moves = fc.array(
      fc.record({
        /** How many writes behind each cache is. */
        lag: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }),
        /** Somebody writes onto the PersistentVolume, also while it is being deleted. */
        writes: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
        /** A write whose answer is lost is as good as one that is repeated. */
        twice: fc.boolean(),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(to, moves, (place, list) => {
        const state = cluster(place);
        const history: Cluster[] = [{ ...state }];
        /** What each cache showed last: it may be late, but it never goes back. */
        const shown = [0, 0, 0, 0];
        let note = 0;
        const check = (): void => {
          const { volume, homeClaim: own, claim } = state;
          const seen = annotationsOf(state);
          expect(seen?.['fluvia.dev/epoch']).toBe('4');
          expect(seen?.['fluvia.dev/last-move'] ?? '0').toBe(String(note));
          // a source that is used outlives its claim, and that claim must not go
          const isUsed = volume !== undefined && isHomeSource(volume);
          expect(!isUsed || (state.real !== undefined && isKept(state.real))).toBe(true);
          const why = own === undefined ? 'gone' : whyKept({ id: ID, homeClaim: own, volume, claim });
          expect(why).toBeDefined();
          const plan = planVolume(worldOf(state));
          expect(plan.create).toBeUndefined();
          expect([...(plan.publish?.keys() ?? [])].toSorted()).toEqual(['@home', 'east']);
          expect(plan.label.length === 0 || (volume !== undefined && isSettled(volume))).toBe(true);
        };
        /** By no picture, however mixed, a second volume is made or a holder's item withdrawn. */
        const checkPicture = (picture: Cluster): void => {
          const plan = planVolume(worldOf(picture));
          expect(plan.create).toBeUndefined();
          expect(plan.publish === undefined || plan.publish.size === 2).toBe(true);
        };
        for (const { lag, writes, twice } of list) {
          const behind = (at: number): Cluster => {
            const seen = Math.max(shown[at] ?? 0, history.length - 1 - (lag[at] ?? 0));
            shown[at] = seen;
            return history[seen] ?? state;
          };
          const picture: Cluster = {
            claim: behind(0).claim,
            volume: behind(1).volume,
            homeClaim: behind(2).homeClaim,
            real: behind(3).real,
            versions: 0,
          };
          checkPicture(picture);
          const step = planSwap({ id: ID, ...picture });
          if (writes && state.volume !== undefined) {
            note += 1;
            const annotations = {
              ...state.volume.metadata.annotations,
              'fluvia.dev/last-move': String(note),
            };
            state.volume = bump(state, state.volume, { annotations });
            history.push({ ...state });
          }
          for (let times = twice ? 2 : 1; times > 0; times -= 1) {
            apply(state, step);
            history.push({ ...state });
            check();
          }
        }
        for (let at = 0; at < 20; at += 1) {
          apply(state, planSwap({ id: ID, ...state }));
          check();
        }
        expect(planSwap({ id: ID, ...state })).toEqual({ do: 'nothing' });
        expect(state.volume !== undefined && isSettled(state.volume)).toBe(true);
        expect(recordOf(state.homeClaim)).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it('waits while a move is under way, and takes nothing down that it could not put up again', () => {
    const state = cluster('home');
    const moving = {
      ...state,
      volume: stored(placeholderOf(ID, authority('@home', { 'fluvia.dev/move': '{}' })), 'p', 1),
    };
    expect(planSwap({ id: ID, ...moving })).toEqual({ do: 'nothing' });
    expect(planSwap({ id: ID, ...state, real: undefined })).toMatchObject({ do: 'wait' });
    expect(planSwap({ id: ID, ...state, homeClaim: undefined })).toMatchObject({ do: 'wait' });
    const foreign = { ...homeClaim, metadata: { ...homeClaim.metadata, labels: {} } };
    expect(planSwap({ id: ID, ...state, homeClaim: foreign })).toMatchObject({ do: 'wait' });
  });

  it('keeps the record where somebody else made an object of the name', () => {
    const state = cluster('home');
    for (let at = 0; at < 4; at += 1) apply(state, planSwap({ id: ID, ...state }));
    expect(state.volume).toBeUndefined();
    state.volume = stored(
      placeholderOf(ID, { ...authority('@home'), claim: { namespace: 'x', name: 'y', uid: 'z' } }),
      'foreign',
      1,
    );
    expect(planSwap({ id: ID, ...state })).toMatchObject({ do: 'wait' });
  });
});

describe('whyKept', () => {
  const base = { id: ID, homeClaim, claim: cluster('home').claim };
  const at = (location: string, more: Record<string, string> = {}): PersistentVolume =>
    stored(placeholderOf(ID, authority(location, more)), 'p', 1);

  it('keeps what is or may become the only copy', () => {
    expect(whyKept({ ...base, volume: at('@home') })).toBeDefined();
    expect(whyKept({ ...base, volume: at('east', { 'fluvia.dev/retained': 'west,@home' }) })).toBeDefined();
    const restoring = { 'fluvia.dev/move': JSON.stringify({ stage: 'restore', to: '@home' }) };
    expect(whyKept({ ...base, volume: at('east', restoring) })).toBeDefined();
    expect(
      whyKept({ ...base, volume: stored(homeVolumeOf(ID, authority('east'), real), 'p', 1) }),
    ).toBeDefined();
    expect(whyKept({ ...base, volume: undefined })).toBeDefined();
  });

  it('lets go what is scrap, and what nobody claims any more', () => {
    expect(whyKept({ ...base, volume: at('east') })).toBeUndefined();
    expect(whyKept({ ...base, claim: undefined, volume: at('@home') })).toBeUndefined();
    expect(whyKept({ ...base, claim: undefined, volume: undefined })).toBeUndefined();
    const unbound: PersistentVolumeClaim = { ...homeClaim, metadata: { name: 'data', uid: 'u' }, spec: {} };
    expect(whyKept({ ...base, claim: unbound, volume: undefined })).toBeUndefined();
  });
});
