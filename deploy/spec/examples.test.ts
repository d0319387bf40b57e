import { describe, expect, it } from 'vitest';
import { KINDS } from '../../api/v1alpha1/kinds.ts';
import { EXAMPLES } from './examples.ts';
import { specPage } from './page.ts';

describe('the examples of docs/spec', () => {
  it('are there for every kind and no other', () => {
    expect(Object.keys(EXAMPLES).sort()).toEqual(KINDS.map((k) => k.kind).sort());
  });

  it.each(KINDS.map((k) => [k.kind, k] as const))(
    '%s: is valid and has the scope of its kind',
    (kind, definition) => {
      const example = EXAMPLES[kind];
      expect(definition.spec.safeParse(example?.spec).error).toBeUndefined();
      expect(example?.metadata.namespace !== undefined).toBe(definition.scope === 'Namespaced');
    },
  );

  it('are shown on pages whose tables have as many cells as their head', () => {
    for (const kind of KINDS) {
      for (const line of specPage(kind)
        .split('\n')
        .filter((l) => l.startsWith('| `'))) {
        expect(line.replaceAll('\\|', '').split('|').length - 2).toBe(5);
      }
    }
  });
});
