import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planTestbed, SLOTS, subnetOf } from './plan-addresses.ts';

const shape = [
  { name: 'home', nodes: 1 },
  { name: 'east', nodes: 2 },
  { name: 'west', nodes: 1 },
];

describe('planTestbed', () => {
  it('gives readable addresses', () => {
    const plan = planTestbed('default', 0, shape);
    expect(
      plan.clusters.flatMap(({ nodes }) =>
        nodes.map(({ name, ip, mac, podCidr, port }) => [name, ip, mac, podCidr, port]),
      ),
    ).toEqual([
      ['home-1', '198.18.0.11', '02:00:c6:12:00:0b', '10.244.0.0/24', 'c1n1'],
      ['east-1', '198.18.0.21', '02:00:c6:12:00:15', '10.244.0.0/24', 'c2n1'],
      ['east-2', '198.18.0.22', '02:00:c6:12:00:16', '10.244.1.0/24', 'c2n2'],
      ['west-1', '198.18.0.31', '02:00:c6:12:00:1f', '10.244.0.0/24', 'c3n1'],
    ]);
    expect(plan).toMatchObject({
      prefix: 'flv0',
      hostIp: '198.18.0.1',
      internet: 'flv0-inet',
      hostLink: 'flv0-host',
    });
    expect(plan.clusters[1]?.server).toBe('https://198.18.0.21:6443');
  });

  it('stays in 198.18.0.0/15, one /24 per slot', () => {
    expect([subnetOf(0), subnetOf(255), subnetOf(256), subnetOf(SLOTS - 1)]).toEqual([
      '198.18.0',
      '198.18.255',
      '198.19.0',
      '198.19.255',
    ]);
  });

  it('never gives two nodes of a machine one address, name or MAC, and no interface a name too long', () => {
    const shapes = fc.uniqueArray(
      fc.record({ name: fc.stringMatching(/^[a-z]{1,8}$/), nodes: fc.integer({ min: 1, max: 12 }) }),
      { minLength: 1, maxLength: 10, selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(shapes, fc.integer({ min: 0, max: SLOTS - 2 }), (clusters, slot) => {
        const plans = [planTestbed('a', slot, clusters), planTestbed('b', slot + 1, clusters)];
        const nodes = plans.flatMap((plan) => plan.clusters.flatMap((cluster) => cluster.nodes));
        for (const field of ['ip', 'mac', 'netns'] as const)
          expect(new Set(nodes.map((node) => node[field])).size).toBe(nodes.length);
        for (const plan of plans)
          for (const name of [
            plan.hostLink,
            ...plan.clusters.flatMap((cluster) => cluster.nodes.map((node) => node.port)),
          ])
            expect(name.length).toBeLessThanOrEqual(15);
        expect(nodes.map(({ ip }) => Number(ip.split('.')[3])).every((byte) => byte > 1 && byte < 255)).toBe(
          true,
        );
      }),
    );
  });

  it('refuses what does not fit', () => {
    expect(() =>
      planTestbed(
        'x',
        0,
        Array.from({ length: 25 }, (_, at) => ({ name: `c${at}`, nodes: 1 })),
      ),
    ).toThrow(/don't fit/);
  });
});
