import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import { createFenceLeases } from './fence-leases.ts';
import { fenceGraceSeconds, planAsks, planNodeFences } from './plan-fence.ts';
import { planShadow, type ShadowWorld } from './plan-shadow.ts';

const node = (name: string, fenceAsk?: number): FabricNode => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'FabricNode',
  metadata: { name },
  spec: { nodeAddress: '198.18.0.1', podRanges: [], externalAddress: '10.70.0.1' },
  ...(fenceAsk === undefined ? {} : { status: { fenceAsk } }),
});
const answer = (asks: Record<string, number>, ...pods: string[]) => ({ asks, leaseSeconds: 20, pods });

describe('asks', () => {
  it('name the leader and every agent that asked', () => {
    expect(planAsks(7, [node('a', 3), node('b')])).toEqual({ controller: 7, 'node/a': 3 });
  });
});

describe('what nodes are told', () => {
  it('is what home listed of the pods that are on them', () => {
    const pods = ['u1', 'u2', 'u3'].map((uid) => ({ clusterID: 'h', uid, node: uid === 'u3' ? 'b' : 'a' }));
    const told = planNodeFences(pods, new Map([['h', answer({ 'node/a': 3 }, 'u1', 'u3', 'u9')]]));
    expect(told.get('a')).toEqual([{ clusterID: 'h', ask: 3, leaseSeconds: 20, pods: ['u1'] }]);
    expect(told.get('b')).toEqual([{ clusterID: 'h', ask: 0, leaseSeconds: 20, pods: ['u3'] }]);
  });

  it('is nothing without such pods, and an empty lease before an answer', () => {
    expect(planNodeFences([], new Map()).size).toBe(0);
    const told = planNodeFences([{ clusterID: 'h', uid: 'u', node: 'a' }], new Map());
    expect(told.get('a')).toEqual([{ clusterID: 'h', ask: 0, leaseSeconds: 20, pods: [] }]);
  });
});

describe('the leases of a leader', () => {
  it('are unknown at its start, closed from then on, and open by an answer to its own ask only', () => {
    let now = 0;
    const leases = createFenceLeases(() => now, 3);
    expect(leases.of('h', 'u')).toBe('unknown');
    leases.begin(new Map());
    expect(leases.of('h', 'u')).toBe('closed');
    const ask = leases.ask('h');
    leases.hear('h', answer({ controller: ask - 1 }, 'u'));
    expect(leases.of('h', 'u')).toBe('closed');
    const changes: string[] = [];
    leases.onChange((id, uids) => changes.push(`${id} ${[...uids].join()}`));
    leases.hear('h', answer({ controller: ask }, 'u'));
    expect(leases.of('h', 'u')).toBe('open');
    now = 20_000;
    expect(leases.of('h', 'u')).toBe('closed');
    leases.expire();
    leases.expire();
    expect(changes).toEqual(['h u', 'h u']);
  });

  it('never share an ask with another term', () => {
    const first = createFenceLeases(() => 0, 4).ask('h');
    expect(createFenceLeases(() => 0, 5).ask('h')).toBeGreaterThan(first + 1_000_000);
  });
});

describe('a shadow whose lease has ended', () => {
  const world = fc.record<ShadowWorld>({
    peer: fc.constantFrom('active' as const, 'cordoned' as const, 'gone' as const),
    item: fc.option(
      fc.record({
        uid: fc.constantFrom('h1', 'h2'),
        deletionGraceSeconds: fc.option(fc.nat(90), { nil: undefined }),
      }),
      { nil: undefined },
    ),
    complete: fc.boolean(),
    namespaceWithdrawn: fc.boolean(),
    twinReady: fc.boolean(),
    fence: fc.record({
      state: fc.constantFrom('closed' as const, 'unknown' as const),
      graceSeconds: fc.integer({ min: 1, max: 60 }),
    }),
    shadow: fc.option(
      fc.record({
        uid: fc.constant('s1'),
        homeUID: fc.constant('h1'),
        terminating: fc.boolean(),
        restartPolicy: fc.constantFrom('Always', 'Never'),
        phase: fc.constantFrom(undefined, 'Pending', 'Running', 'Failed'),
        podUID: fc.constantFrom(undefined, 'p1'),
      }),
      { nil: undefined },
    ),
    pod: fc.option(
      fc.record({
        uid: fc.constant('p1'),
        ownerUID: fc.constantFrom('s1', undefined),
        phase: fc.constantFrom('Pending', 'Running'),
        reason: fc.constant(undefined),
        terminating: fc.boolean(),
        graceSeconds: fc.option(fc.nat(90), { nil: undefined }),
      }),
      { nil: undefined },
    ),
  });

  it('is never made, and stops within its bound', () => {
    fc.assert(
      fc.property(world, (one) => {
        const plan = planShadow(one);
        if (plan.action === 'create-pod') return false;
        if (one.fence?.state !== 'closed' || one.pod === undefined) return true;
        const stops = one.pod.terminating && (one.pod.graceSeconds ?? 0) <= one.fence.graceSeconds;
        return stops || (plan.action === 'delete-pod' && plan.graceSeconds === one.fence.graceSeconds);
      }),
    );
  });

  it('has S less what it takes to notice', () => {
    expect([fenceGraceSeconds(15, 60), fenceGraceSeconds(15, 5), fenceGraceSeconds(1, 30)]).toEqual([
      13, 5, 1,
    ]);
  });
});
