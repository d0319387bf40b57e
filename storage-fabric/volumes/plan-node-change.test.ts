import { describe, expect, it } from 'vitest';
import type { Node } from '../../runtime/kube/types.ts';
import { volumesOf } from './plan-node-change.ts';

const ALL = ['v1', 'v2'];
const node = (labels: Record<string, string>): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'n1', labels },
  spec: {},
});

describe('volumesOf', () => {
  it('names all volumes when a node comes or goes: a new one may be where some may be used', () => {
    for (const type of ['added', 'deleted'] as const)
      expect(volumesOf({ type, object: node({ 'fluvia.dev/volume-v3': 'true' }) }, () => ALL)).toEqual([
        'v3',
        'v1',
        'v2',
      ]);
  });

  it('names a volume whose label was written or taken away, by whomever', () => {
    const bare = node({ zone: 'a' });
    const labelled = node({ zone: 'a', 'fluvia.dev/volume-v2': 'true' });
    expect(volumesOf({ type: 'updated', object: labelled, old: bare }, () => ALL)).toEqual(['v2']);
    expect(volumesOf({ type: 'updated', object: bare, old: labelled }, () => ALL)).toEqual(['v2']);
    expect(volumesOf({ type: 'updated', object: bare, old: bare }, () => ALL)).toEqual([]);
  });

  it('names all volumes when labels change by which a source may choose its nodes', () => {
    expect(
      volumesOf({ type: 'updated', object: node({ zone: 'b' }), old: node({ zone: 'a' }) }, () => ALL),
    ).toEqual(ALL);
  });
});
