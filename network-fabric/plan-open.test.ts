import { describe, expect, it } from 'vitest';
import { testConfig } from './fabric.fake.ts';
import { planOpen } from './plan-open.ts';
import { planGatewayNode } from './plan-gateway-node.ts';
import { testNode } from './fabric.fake.ts';

describe('planOpen', () => {
  const pods = new Map([['web', ['10.244.0.5', '10.244.1.6']]]);

  it('opens pods of namespaces and announced ranges to the peers that a rule names', () => {
    const { spec } = testConfig({
      open: [
        { peers: ['b'], namespaces: ['web'], ports: [{ protocol: 'TCP', port: 80 }] },
        { cidrs: ['10.244.7.0/24', '192.168.0.0/16'] },
      ],
    });
    expect(planOpen({ config: spec, peer: 'b', podsByNamespace: pods })).toEqual([
      { cidr: '10.244.0.5/32', ports: [{ protocol: 'TCP', port: 80 }] },
      { cidr: '10.244.1.6/32', ports: [{ protocol: 'TCP', port: 80 }] },
      { cidr: '10.244.7.0/24' },
    ]);
    expect(planOpen({ config: spec, peer: 'c', podsByNamespace: pods })).toEqual([{ cidr: '10.244.7.0/24' }]);
  });
});

describe('planGatewayNode', () => {
  const nowMs = 1_000_000;
  const node = (name: string, ageMs: number, isReady = true, sinceMs = 0) => ({
    ...testNode(name, 0, undefined, true),
    status: {
      heartbeatAt: new Date(nowMs - ageMs).toISOString(),
      conditions: [
        {
          type: 'Ready',
          status: isReady ? ('True' as const) : ('False' as const),
          reason: 'x',
          message: '',
          lastTransitionTime: new Date(nowMs - sinceMs).toISOString(),
        },
      ],
    },
  });
  const readyNodes = new Set(['n1', 'n2']);

  it('takes the first node that serves, and stays with it', () => {
    const fabricNodes = [node('n2', 0), node('n1', 0)];
    expect(planGatewayNode({ fabricNodes, readyNodes, current: undefined, nowMs })).toBe('n1');
    expect(planGatewayNode({ fabricNodes, readyNodes, current: 'n2', nowMs })).toBe('n2');
  });

  it('moves away from a node whose agent is silent, unless no other can', () => {
    expect(
      planGatewayNode({ fabricNodes: [node('n1', 60_000), node('n2', 0)], readyNodes, current: 'n1', nowMs }),
    ).toBe('n2');
    expect(
      planGatewayNode({
        fabricNodes: [node('n1', 60_000), node('n2', 0, false)],
        readyNodes,
        current: 'n1',
        nowMs,
      }),
    ).toBe('n1');
  });

  it('moves away from a node that has been unwell for a minute, not from one that just failed', () => {
    const request = { readyNodes, current: 'n1', nowMs };
    expect(planGatewayNode({ ...request, fabricNodes: [node('n1', 0, false, 5_000), node('n2', 0)] })).toBe(
      'n1',
    );
    expect(planGatewayNode({ ...request, fabricNodes: [node('n1', 0, false, 61_000), node('n2', 0)] })).toBe(
      'n2',
    );
  });

  it('takes none before an agent reported', () => {
    const fabricNodes = [testNode('n1', 0, undefined, true)];
    expect(planGatewayNode({ fabricNodes, readyNodes, current: undefined, nowMs })).toBeUndefined();
  });
});
