import { describe, expect, it } from 'vitest';
import { testConfig, testNode } from './fabric.fake.ts';
import { formatNftChange, planNftChange } from './plan-nft-change.ts';
import { planNft } from './plan-nft.ts';
import { planNode, type FabricObjects, type NodeFabric } from './plan-node.ts';

const view = (name: string, pod: string, external: string, ours: readonly [string, string]) => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'View',
  metadata: { name },
  spec: {
    peer: name,
    clusterID: 'a'.repeat(26),
    theirs: [
      { purpose: 'Pod' as const, real: '10.244.0.0/16', view: pod },
      { purpose: 'External' as const, real: '10.70.0.0/16', view: external },
    ],
    ours: [
      { purpose: 'Pod' as const, real: '10.244.0.0/16', view: ours[0] },
      { purpose: 'External' as const, real: '10.70.0.0/16', view: ours[1] },
    ],
  },
});

const objects = (over: Partial<FabricObjects> = {}): FabricObjects => ({
  config: testConfig(),
  views: [view('b', '10.128.0.0/16', '10.129.0.0/16', ['10.128.0.0/16', '10.129.0.0/16'])],
  gateways: [],
  fabricNodes: [testNode('node0', 0, 'node1', true), testNode('node1', 1, 'node1', true)],
  offers: [
    {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'Offer',
      metadata: { name: 'b-open-0', generation: 1 },
      spec: {
        peer: 'b',
        addresses: [
          { cidr: '10.244.0.0/24' },
          { cidr: '10.244.0.5/32' },
          { cidr: '10.244.1.6/32', ports: [{ protocol: 'TCP', port: 80 }] },
        ],
      },
    },
  ],
  ...over,
});

const nodeOf = (over: Partial<FabricObjects> = {}): NodeFabric =>
  planNode(objects(over), 'node0') as NodeFabric;
const elements = (node: NodeFabric, name: string): readonly string[] =>
  planNft(node).sets.find((set) => set.name === name)?.elements ?? [];
const rules = (node: NodeFabric, name: string): readonly string[] =>
  planNft(node).chains.find((chain) => chain.name === name)?.rules ?? [];

describe('planNft', () => {
  it('translates by view of them and view of us, both ways', () => {
    const node = nodeOf();
    expect(elements(node, 'in')).toContain('10.128.0.0/16 . 10.129.0.0/16 : 10.70.0.0/16');
    expect(elements(node, 'in')).toContain('10.128.0.0/16 . 10.128.0.0/16 : 10.244.0.0/16');
    expect(elements(node, 'out')).toContain('10.129.0.0/16 . 10.244.0.0/16 : 10.128.0.0/16');
    expect(elements(node, 'pairs')).toHaveLength(4);
    expect(elements(node, 'external')).toEqual(['10.128.0.0/16 : 10.129.0.1', '10.129.0.0/16 : 10.129.0.1']);
  });

  it('offers each address once, since concatenated sets refuse overlaps', () => {
    const node = nodeOf();
    expect(elements(node, 'offered')).toEqual([
      '10.128.0.0/16 . 10.244.0.0/24',
      '10.129.0.0/16 . 10.244.0.0/24',
    ]);
    expect(elements(node, 'offered-ports')).toEqual([
      '10.128.0.0/16 . 10.244.1.6 . tcp . 80',
      '10.129.0.0/16 . 10.244.1.6 . tcp . 80',
    ]);
  });

  it("takes sources in a view over the VXLAN only from the gateway's device", () => {
    expect(rules(nodeOf(), 'known')).toContain(
      'iifname "fluvia-vx" ip saddr @views ether saddr != 02:bb:00:00:00:01 counter drop',
    );
    const isGateway = nodeOf({
      fabricNodes: [testNode('node0', 0, 'node0', true), testNode('node1', 1, 'node0', true)],
    });
    expect(rules(isGateway, 'known')).toContain('iifname "fluvia-vx" ip saddr @views counter drop');
  });

  it('ends each chain that judges what comes out of the tunnel with a drop', () => {
    for (const chain of ['known', 'input', 'forward']) {
      const drops = rules(nodeOf(), chain).filter(
        (rule) =>
          /^iifname (?:"fluvia0"|\{ "fluvia0").* counter drop$/.test(rule) ||
          rule === 'iifname "fluvia0" counter drop',
      );
      expect(drops.length, `drops of ${chain}`).toBeGreaterThan(0);
    }
  });

  it('accepts replies by the direction of the flow only, so that a withdrawn offer also ends flows that stand', () => {
    const accepts = planNft(nodeOf()).chains.flatMap((chain) =>
      chain.rules.filter((rule) => /established/.test(rule)),
    );
    expect(accepts.every((rule) => rule.includes('ct direction reply'))).toBe(true);
  });
});

describe('planNftChange', () => {
  const state = (node: NodeFabric) => ({
    sets: planNft(node).sets,
    chains: planNft(node).chains.map((chain) => ({ ...chain, ruleComments: [] as string[] })),
  });

  it('adds and removes only elements that differ', () => {
    const before = planNft(nodeOf());
    const marked = {
      sets: before.sets,
      chains: before.chains.map((chain) => ({
        ...chain,
        ruleComments: formatNftChange({ kind: 'rebuild', table: before })
          .filter((line) => line.startsWith(`add rule ip fluvia ${chain.name} `))
          .map((line) => /comment "([0-9a-f]{8})"$/.exec(line)?.[1] ?? ''),
      })),
    };
    expect(planNftChange(marked, before)).toBeUndefined();
    const after = planNft(nodeOf({ offers: [] }));
    const change = planNftChange(marked, after);
    expect(change === undefined ? [] : formatNftChange(change)).toEqual([
      'delete element ip fluvia offered { 10.128.0.0/16 . 10.244.0.0/24, 10.129.0.0/16 . 10.244.0.0/24 }',
      'delete element ip fluvia offered-ports { 10.128.0.0/16 . 10.244.1.6 . tcp . 80, 10.129.0.0/16 . 10.244.1.6 . tcp . 80 }',
    ]);
  });

  it('writes the rules of a chain anew when any is missing', () => {
    const change = planNftChange(state(nodeOf()), planNft(nodeOf()));
    expect(change?.kind).toBe('change');
    const lines = change === undefined ? [] : formatNftChange(change);
    expect(lines[0]).toBe('flush chain ip fluvia known');
  });

  it('replaces the table in one transaction when its shape differs', () => {
    const change = planNftChange({ sets: [], chains: [] }, planNft(nodeOf()));
    const lines = change === undefined ? [] : formatNftChange(change);
    expect(lines.slice(0, 3)).toEqual([
      'add table ip fluvia',
      'delete table ip fluvia',
      'add table ip fluvia',
    ]);
  });
});
