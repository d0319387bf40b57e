import { describe, expect, it } from 'vitest';
import { partitionRules } from './network.ts';
import { planTestbed } from './plan-addresses.ts';

describe('partitionRules', () => {
  const plan = planTestbed('t', 0, [
    { name: 'home', nodes: 1 },
    { name: 'east', nodes: 2 },
  ]);

  it('drops between all nodes of both clusters, both ways', () => {
    const rules = partitionRules(plan, [['home', 'east']]);
    expect(rules).toContain('iifname { "c1n1" } oifname { "c2n1", "c2n2" } drop');
    expect(rules).toContain('iifname { "c2n1", "c2n2" } oifname { "c1n1" } drop');
  });

  it('cuts single nodes, and nothing when there is no partition', () => {
    expect(partitionRules(plan, [['east-1', 'east-2']])).toContain(
      'iifname { "c2n1" } oifname { "c2n2" } drop',
    );
    expect(partitionRules(plan, [])).not.toContain('drop');
  });
});
