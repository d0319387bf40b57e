import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { silentLogger } from '../log.ts';
import { createCache, type Cache, type Change } from './cache.ts';
import { keyOf, type ObjectMeta } from './types.ts';

interface Thing {
  readonly metadata: ObjectMeta;
  readonly color: string;
}

const thing = (name: string, version: number, color = 'red', uid = 'u'): Thing => ({
  metadata: { name, namespace: 'ns', uid, resourceVersion: String(version) },
  color,
});

const create = (): Cache<Thing> =>
  createCache<Thing>({ indexers: { color: (o) => [o.color] }, log: silentLogger });
const seen = (cache: Cache<Thing>): string[] => {
  const lines: string[] = [];
  cache.onChange((change: Change<Thing>) => lines.push(`${change.type} ${change.object.metadata.name}`));
  return lines;
};

describe('informer cache', () => {
  it('freezes what it keeps, all the way down, and drops managedFields', () => {
    const cache = create();
    const object = {
      ...thing('a', 1),
      metadata: { ...thing('a', 1).metadata, labels: { x: 'y' }, managedFields: [{}] },
    };
    cache.put(object);
    const kept = cache.get('ns/a');
    expect(Object.isFrozen(kept?.metadata.labels)).toBe(true);
    expect(kept?.metadata).not.toHaveProperty('managedFields');
  });

  it('after a relist tells only what differs, deletions too', () => {
    const cache = create();
    cache.replace([thing('a', 1), thing('b', 2), thing('c', 3)]);
    const lines = seen(cache);
    lines.length = 0;
    cache.replace([thing('a', 1), thing('b', 9), thing('d', 10)]);
    expect(lines).toEqual(['deleted c', 'updated b', 'added d']);
  });

  it('tells a listener that comes late what is there already', () => {
    const cache = create();
    cache.put(thing('a', 1));
    expect(seen(cache)).toEqual(['added a']);
  });

  it('tells a deletion when an object was replaced by another of the same name', () => {
    const cache = create();
    cache.put(thing('a', 1, 'red', 'one'));
    const lines = seen(cache);
    lines.length = 0;
    cache.put(thing('a', 5, 'red', 'two'));
    expect(lines).toEqual(['deleted a', 'added a']);
  });

  it('goes on when a listener throws', () => {
    const cache = create();
    cache.onChange(() => {
      throw new Error('listener');
    });
    const lines = seen(cache);
    cache.put(thing('a', 1));
    expect(lines).toEqual(['added a']);
  });

  it('refuses an index that does not exist', () => {
    expect(() => create().byIndex('size', 'x')).toThrow('there is no index size');
  });

  it('keeps indexes equal to a scan of the objects', () => {
    const operation = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      color: fc.constantFrom('red', 'blue'),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(operation), (operations) => {
        const cache = create();
        operations.forEach(({ name, color, remove }, version) => {
          if (remove) cache.remove(thing(name, version, color));
          else cache.put(thing(name, version, color));
        });
        for (const color of ['red', 'blue']) {
          const scan = cache.list().filter((object) => object.color === color);
          expect(cache.byIndex('color', color).map(keyOf).toSorted()).toEqual(scan.map(keyOf).toSorted());
        }
      }),
    );
  });
});
