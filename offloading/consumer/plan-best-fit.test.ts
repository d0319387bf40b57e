import { HOME_PLACE } from '../../api/places.ts';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FITS, FitSlot } from '../../api/fits-collection.ts';
import { LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import { FloatPolicyKind } from '../../api/v1alpha1/float-policy.ts';
import type { Node, PodSpec } from '../../runtime/kube/types.ts';
import { podRequests, type Amounts } from './plan-fit.ts';
import { explainNoFit, planPlacementPatch, waitingRecord } from './plan-placement-patch.ts';
import { planPlacements, type GatedPod, type PlanNode } from './plan-placement.ts';
import { rankPolicyOf, TERMS, type Weights } from './plan-score.ts';
import { slotsOf, wantsOf } from './plan-slots.ts';
import { slotsLeft, uncountedPods, type PodAtPeer } from './plan-uncounted.ts';

const spec = (requests: Record<string, string>): PodSpec => ({
  containers: [{ name: 'c', resources: { requests } }],
  tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
});

const gated = (
  uid: string,
  requests: Record<string, string>,
  overrides: Partial<GatedPod> = {},
): GatedPod => ({
  uid,
  spec: spec(requests),
  requests: podRequests(spec(requests)),
  group: 'g',
  strategy: 'LocalAndRemote',
  stays: undefined,
  openPeers: ['east', 'west', 'north'],
  excluded: new Map(),
  ...overrides,
});

const node = (name: string, peer?: string): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels: peer ? { [LABELS.peer]: peer } : {} },
  spec: peer ? { taints: [{ key: VIRTUAL_NODE_TAINT, effect: 'NoSchedule' }] } : {},
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});

const slot = (cpu: string, memory = '8Gi', count = 1, more: Partial<FitSlot['free']> = {}): FitSlot => ({
  free: { cpu, memory, pods: '100', ...(more as Record<string, string>) },
  count,
  labels: { 'kubernetes.io/arch': 'amd64' },
});

const plenty: Amounts = { cpu: 1000, memory: 2 ** 50, pods: 10_000, 'nvidia.com/gpu': 100 };
const peerNode = (peer: string, slots: readonly FitSlot[] | undefined, free = plenty): PlanNode => ({
  node: node(`fluvia-${peer}`, peer),
  peer,
  free,
  slots: slots && slotsOf(slots),
});
const homeNode = (name: string, cpu: number): PlanNode => ({
  node: node(name),
  peer: undefined,
  free: { cpu, memory: 8 * 2 ** 30, pods: 100 },
});

const only = (term: keyof Weights): Weights =>
  Object.fromEntries(TERMS.map((t) => [t, t === term ? 10 : 0])) as Weights;
const policy = (weights: Weights, candidates = 8) => ({ weights, candidates });
const bestOf = (pods: readonly GatedPod[], nodes: readonly PlanNode[], options = {}) =>
  planPlacements(pods, nodes, new Map(), options).map(({ ranked }) => ranked[0]?.place);

describe('what fits', () => {
  it('goes by real nodes, not by the sum: four nodes of one core take no pod of two', () => {
    const nodes = [peerNode('east', [slot('1', '8Gi', 4)]), peerNode('west', [slot('2')])];
    expect(bestOf([gated('1', { cpu: '2' })], nodes)).toEqual(['west']);
  });

  it('says what is missing where, in words', () => {
    const nodes = [
      homeNode('n1', 1),
      peerNode('east', [slot('2', '1Gi'), slot('1', '8Gi')]),
      peerNode('west', [slot('8')]),
    ];
    const says = (requests: Record<string, string>, at = nodes) => {
      const [placement] = planPlacements([gated('1', requests)], at, new Map());
      return placement && explainNoFit(placement);
    };
    expect(says({ cpu: '4', 'nvidia.com/gpu': '1' })).toBe(
      'this cluster: needs 4 cpu, largest free node has 1; no nvidia.com/gpu free; ' +
        'east: needs 4 cpu, largest free node has 2; no nvidia.com/gpu free; west: no nvidia.com/gpu free',
    );
    expect(says({ cpu: '2', memory: '4Gi' }, nodes.slice(0, 2))).toContain(
      'east: no single node has 2 cpu and 4Gi memory free together',
    );
    expect(says({ cpu: '1' }, [peerNode('east', [])])).toContain('east: none of its nodes has room');
    expect(says({ cpu: '1' }, [peerNode('east', [slot('4')], { cpu: 0.5, pods: 10 })])).toContain(
      'east: needs 1 cpu, what is left of the grant has 500m',
    );
  });

  it('looks at arch where the pod names it', () => {
    const arm: FitSlot = { ...slot('2'), labels: { 'kubernetes.io/arch': 'arm64' } };
    const labels = { 'kubernetes.io/arch': 'amd64' };
    const at = (peer: string, slots: readonly FitSlot[]): PlanNode => {
      const one = peerNode(peer, slots);
      return { ...one, node: { ...one.node, metadata: { ...one.node.metadata, labels } } };
    };
    const pod = gated('1', { cpu: '1' });
    const picky = { ...pod, spec: { ...pod.spec, nodeSelector: labels } };
    expect(bestOf([picky], [at('east', [arm]), at('west', [slot('2')])])).toEqual(['west']);
  });

  it('counts at once: a burst does not pile up on one peer', () => {
    const nodes = ['east', 'west', 'north'].map((peer) => peerNode(peer, [slot('4')]));
    const places = bestOf(
      Array.from({ length: 12 }, (_, i) => gated(String(i), { cpu: '1' })),
      nodes,
    );
    for (const peer of ['east', 'west', 'north']) expect(places.filter((p) => p === peer)).toHaveLength(4);
  });

  it('several grants of one peer share its real nodes', () => {
    const second = { ...peerNode('east', [slot('2')]), node: node('fluvia-east-b', 'east') };
    const nodes = [peerNode('east', [slot('2')]), second];
    expect(bestOf([gated('1', { cpu: '2' }), gated('2', { cpu: '2' })], nodes)).toEqual(['east', undefined]);
  });

  it('never puts more onto a real node than is free there, loses nothing that fits, and is deterministic', () => {
    const cores = fc.integer({ min: 0, max: 6 });
    fc.assert(
      fc.property(
        fc.array(fc.array(cores, { maxLength: 4 }), { minLength: 3, maxLength: 3 }),
        fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 20 }),
        (peers, wanted) => {
          const nodes = ['east', 'west', 'north'].map((peer, i) =>
            peerNode(
              peer,
              (peers[i] ?? []).map((cpu) => slot(String(cpu))),
            ),
          );
          const pods = wanted.map((cpu, i) => gated(String(i), { cpu: String(cpu) }));
          const placements = planPlacements(pods, nodes, new Map());
          expect(planPlacements(pods, nodes.toReversed(), new Map()).map((p) => p.ranked)).toEqual(
            placements.map((p) => p.ranked),
          );
          const left = peers.map((slots) => [...slots]);
          placements.forEach(({ ranked }, i) => {
            const cpu = wanted[i] ?? 0;
            const place = ranked[0]?.place;
            expect(place !== undefined || left.flat().every((free) => free < cpu)).toBe(true);
            if (place === undefined) return;
            const slots = left[['east', 'west', 'north'].indexOf(place)] ?? [];
            const index = slots.indexOf(Math.max(...slots));
            slots[index] = (slots[index] ?? 0) - cpu;
            expect(slots[index]).toBeGreaterThanOrEqual(0);
          });
          // A second pass over what is left plans nothing more.
          const rest = pods.filter((_, i) => placements[i]?.ranked.length === 0);
          const after = ['east', 'west', 'north'].map((peer, i) =>
            peerNode(
              peer,
              (left[i] ?? []).map((cpu) => slot(String(cpu))),
            ),
          );
          expect(bestOf(rest, after).filter((place) => place !== undefined)).toEqual([]);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('what the peer has not counted yet', () => {
  const told = (slots: readonly FitSlot[], counted: string[], countedAll = true): ItemOf<typeof FITS> => ({
    slots: [...slots],
    omittedNodes: 0,
    counted,
    countedAll,
  });
  const at = (uid: string, cpu: number, more: Partial<PodAtPeer> = {}): PodAtPeer => ({
    uid,
    spec: spec({ cpu: String(cpu) }),
    requests: { cpu, pods: 1 },
    isStarted: false,
    isOver: false,
    ...more,
  });

  it('is taken off, once', () => {
    const cpus = (slots: ReturnType<typeof slotsLeft>) => slots.map((s) => s.free['cpu']);
    const seen = new Set<string>();
    expect(cpus(slotsLeft(told([slot('4')], []), [at('a', 1)], seen))).toEqual([3]);
    expect(cpus(slotsLeft(told([slot('3')], ['a']), [at('a', 1)], seen))).toEqual([3]);
    // It ended over there: its room is free, though the pod still stands here.
    expect(cpus(slotsLeft(told([slot('4')], []), [at('a', 1)], seen))).toEqual([4]);
  });

  it('refused ones take nothing, and started ones are counted when not all are named', () => {
    const pods = [at('a', 1, { isOver: true }), at('b', 1, { isStarted: true }), at('c', 1)];
    const uids = (countedAll: boolean) =>
      uncountedPods(told([], [], countedAll), pods, new Set()).map(({ uid }) => uid);
    expect(uids(true)).toEqual(['b', 'c']);
    expect(uids(false)).toEqual(['c']);
  });

  it('however the answers come, room is never given twice', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 6 }),
        (wanted, answers) => {
          const capacity = [4, 3, 2];
          const seen = new Set<string>();
          const placed: PodAtPeer[] = [];
          // The peer's own account of what it has heard so far; roomiest first, as its scheduler does.
          const actual = (n: number) => {
            const free = [...capacity];
            for (const pod of placed.slice(0, n)) {
              const i = free.indexOf(Math.max(...free));
              free[i] = (free[i] ?? 0) - (pod.requests['cpu'] ?? 0);
            }
            return free;
          };
          let heard = 0;
          wanted.forEach((cpu, i) => {
            heard = Math.min(placed.length, Math.max(heard, answers[i % Math.max(1, answers.length)] ?? 0));
            const answer = told(
              actual(heard).map((free) => slot(String(Math.max(0, free)))),
              placed.slice(0, heard).map(({ uid }) => uid),
            );
            const nodes = [{ ...peerNode('east', []), slots: slotsLeft(answer, placed, seen) }];
            const [placement] = planPlacements([gated(`p${i}`, { cpu: String(cpu) })], nodes, new Map());
            if (placement?.ranked[0] !== undefined) placed.push(at(`p${i}`, cpu));
          });
          const total = placed.reduce((sum, { requests }) => sum + (requests['cpu'] ?? 0), 0);
          expect(total).toBeLessThanOrEqual(9);
        },
      ),
    );
  });
});

describe('what is best', () => {
  const three = [
    peerNode('east', [slot('8')]),
    peerNode('west', [slot('8')]),
    peerNode('north', [slot('8')]),
  ];
  const pod = gated('1', { cpu: '2', memory: '2Gi' });

  it('a lower price per hour of what the pod asks', () => {
    const facts = new Map([
      ['east', { pricePerHour: { cpu: 0.1, memory: 0.02 } }],
      ['west', { pricePerHour: { cpu: 0.1, memory: 0.01 } }],
      ['north', { pricePerHour: { cpu: 0.2 } }],
    ]);
    const [placement] = planPlacements([pod], three, new Map(), { facts, policy: policy(only('price')) });
    expect(placement?.ranked.map((r) => [r.place, Number(r.measures.price.toFixed(4))])).toEqual([
      ['west', 0.22],
      ['east', 0.24],
      ['north', 0.4],
    ]);
  });

  it('a shorter round trip, fewer bytes to move, more room', () => {
    const facts = new Map([
      ['east', { rttMilliseconds: 40 }],
      ['west', { rttMilliseconds: 4 }],
    ]);
    expect(bestOf([pod], three, { facts, policy: policy(only('rtt')) })).toEqual(['west']);
    const dataBytes = new Map([
      ['east', 5e9],
      ['north', 2e9],
    ]);
    expect(bestOf([{ ...pod, dataBytes }], three, { policy: policy(only('data')) })).toEqual(['west']);
    const rooms = [peerNode('east', [slot('3')]), peerNode('west', [slot('4')])];
    expect(bestOf([pod], rooms, { policy: policy(only('room')) })).toEqual(['west']);
  });

  it('with spread alone pods are as even as room allows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 3, maxLength: 3 }),
        fc.integer({ min: 0, max: 20 }),
        (room, count) => {
          const peers = ['east', 'west', 'north'];
          const nodes = peers.map((peer, i) => peerNode(peer, [slot(String(room[i] ?? 0), '900Gi')]));
          const pods = Array.from({ length: count }, (_, i) => gated(String(i), { cpu: '1' }));
          const places = bestOf(pods, nodes, { policy: policy(only('spread')) });
          const per = peers.map((peer) => places.filter((place) => place === peer).length);
          const notFull = per.filter((n, i) => n < (room[i] ?? 0));
          for (const n of notFull) expect(Math.max(...per) - n).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('names at most so many candidates as the policy says, and they all fit', () => {
    const nodes = [...three, homeNode('n1', 1)];
    const [placement] = planPlacements([pod], nodes, new Map(), { policy: policy(only('room'), 2) });
    expect(placement?.ranked).toHaveLength(2);
    expect(placement?.ranked.map((r) => r.place)).not.toContain(HOME_PLACE);
    const patch = placement && planPlacementPatch({ spec: pod.spec }, placement, ['east', 'west', 'north']);
    expect(patch?.nominatedNodeName).toBe('fluvia-east');
    expect(JSON.stringify(patch?.body)).toContain('"values":["east","north"]');
  });

  it('weights come from the policy, the schema’s where it says nothing, and out of range is refused', () => {
    expect(rankPolicyOf(undefined)).toEqual({
      weights: { room: 30, price: 20, rtt: 20, data: 50, spread: 40 },
      candidates: 8,
    });
    const parse = (weights: Record<string, number>) => FloatPolicyKind.spec.safeParse({ weights });
    expect(parse({ room: 100, price: 0 }).success).toBe(true);
    for (const bad of [-1, 101, 0.5, Number.NaN]) {
      for (const term of TERMS) expect(parse({ [term]: bad }).success).toBe(false);
    }
  });
});

describe('the record', () => {
  it('stays small whatever the number of peers', () => {
    const names = Array.from({ length: 1000 }, (_, i) => `peer-${i}`);
    const nodes = names.map((peer, i) => peerNode(peer, [slot(i % 2 ? '4' : '1')]));
    const openPeers = names;
    const [fits] = planPlacements([gated('1', { cpu: '2' }, { openPeers })], nodes, new Map());
    const [fitsNot] = planPlacements([gated('2', { cpu: '20' }, { openPeers })], nodes, new Map());
    const patch = fits && planPlacementPatch({ spec: spec({}) }, fits, names);
    expect(JSON.stringify(patch?.record).length).toBeLessThan(8192);
    expect(fitsNot && JSON.stringify(waitingRecord(fitsNot, 'now')).length).toBeLessThan(8192);
    expect(fitsNot && explainNoFit(fitsNot).length).toBeLessThanOrEqual(1000);
  });

  it('wants nothing of what a pod does not ask', () => {
    expect(wantsOf({ cpu: 0, pods: 1 }).amounts).toEqual([['pods', 1]]);
  });
});
