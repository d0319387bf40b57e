import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FITS } from '../../api/fits-collection.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { isUsable, planFits, roomOfNodes, type FitNode, type NodeState } from './plan-fits.ts';

const node = (name: string, cpu: number, more: Partial<FitNode> = {}): FitNode => ({
  name,
  labels: { 'kubernetes.io/arch': 'amd64', 'kubernetes.io/hostname': name },
  usable: true,
  allocatable: { cpu: cpu * 1000, memory: 8 * 2 ** 30, pods: 110 },
  ...more,
});
const left = { cpu: 64_000, memory: 2 ** 40, pods: 1000 };

describe('what would fit', () => {
  it('equal nodes are counted, the largest come first, and no node is named', () => {
    const rooms = roomOfNodes({ nodes: [node('a', 2), node('b', 4), node('c', 2)], pods: [] });
    const item = planFits(rooms, { left, counted: ['u'] });
    expect(item.slots.map(({ free, count }) => [free['cpu'], count])).toEqual([
      ['4', 1],
      ['2', 2],
    ]);
    expect(item.slots[0]?.labels).toEqual({ 'kubernetes.io/arch': 'amd64' });
    expect(item).toMatchObject({ counted: ['u'], countedAll: true, omittedNodes: 0 });
    expect(FITS.schema.parse(item)).toEqual(item);
  });

  it('takes off everybody’s pods, and those that wait for a node where they will go', () => {
    const pods = [
      { node: 'a', amounts: { cpu: 500, pods: 1 } },
      { node: 'elsewhere', amounts: { cpu: 9000, pods: 1 } },
      { node: undefined, amounts: { cpu: 1500, pods: 1 } },
      { node: undefined, amounts: { cpu: 99_000, pods: 1 } },
    ];
    const rooms = roomOfNodes({ nodes: [node('a', 2), node('b', 4)], pods });
    expect(rooms.map(({ free }) => free['cpu'])).toEqual([1500, 2500]);
  });

  it('is bounded by what the grant has left; what isn’t granted isn’t told', () => {
    const gpu = node('g', 8, { allocatable: { cpu: 8000, memory: 2 ** 30, pods: 3, 'nvidia.com/gpu': 2 } });
    const told = (l: Record<string, number>) =>
      planFits(roomOfNodes({ nodes: [gpu], pods: [] }), { left: l, counted: [] }).slots[0]?.free;
    expect(told({ cpu: 3000, memory: 2 ** 40 })).toEqual({ cpu: '3', memory: '1Gi', pods: '3' });
    expect(told({ cpu: 3000, memory: 2 ** 40, 'nvidia.com/gpu': 1 })?.['nvidia.com/gpu']).toBe('1');
    expect(told({ cpu: 0, memory: 2 ** 40 })?.['cpu']).toBeUndefined();
    expect(told({ ...left, pods: 0 })).toBeUndefined();
  });

  it('counts only nodes that pods of peers can be put on', () => {
    const ready: NodeState = {
      metadata: {},
      spec: {},
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    };
    expect(isUsable(ready)).toBe(true);
    for (const bad of [
      { ...ready, status: {} },
      { ...ready, spec: { unschedulable: true } },
      { ...ready, spec: { taints: [{ effect: 'NoSchedule' }] } },
      { ...ready, metadata: { labels: { 'fluvia.dev/virtual-node': 'true' } } },
      { ...ready, metadata: { deletionTimestamp: 'now' } },
    ])
      expect(isUsable(bad)).toBe(false);
    expect(isUsable({ ...ready, spec: { taints: [{ effect: 'PreferNoSchedule' }] } })).toBe(true);
    expect(roomOfNodes({ nodes: [node('a', 1, { usable: false })], pods: [] })).toEqual([]);
  });

  it('keeps to its bounds, and no slot says more than a node has', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 150 }),
        fc.array(fc.tuple(fc.nat(149), fc.integer({ min: 1, max: 50_000 })), { maxLength: 50 }),
        (sizes, taken) => {
          const nodes = sizes.map((cpu, i) => node(`n${i}`, cpu));
          const pods = taken.map(([i, cpu]) => ({ node: `n${i}`, amounts: { cpu, pods: 1 } }));
          const rooms = roomOfNodes({ nodes, pods });
          const counted = Array.from({ length: 3000 }, (_, i) => `u${i}`);
          const item = planFits(rooms, { left: { ...left, cpu: 10 ** 9 }, counted });
          expect(FITS.schema.safeParse(item).success).toBe(true);
          expect(item.countedAll).toBe(false);
          expect(item.slots.reduce((n, { count }) => n + count, 0) + item.omittedNodes).toBe(nodes.length);
          const most = Math.max(0, ...rooms.map(({ free }) => free['cpu'] ?? 0));
          for (const { free } of item.slots)
            expect(parseQuantity(free['cpu'] ?? '0') * 1000).toBeLessThanOrEqual(most + 1e-6);
        },
      ),
      { numRuns: 50 },
    );
  });
});
