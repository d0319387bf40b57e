import { describe, expect, it } from 'vitest';
import type { ContainerSample } from '../support/containers.ts';
import { countRunning, findOverlaps } from './plan-overlap.ts';

const running = (pod: string, podUID: string, container = 'main') => ({
  namespace: 'drill',
  pod,
  podUID,
  container,
});
const sample = (nodes: Record<string, ReturnType<typeof running>[]>): ContainerSample => ({
  atMs: 0,
  nodes: new Map(Object.entries(nodes)),
});
const watched = { namespace: 'drill', container: 'main' };
const isDb = (pod: string): boolean => pod.startsWith('db-');

describe('overlaps', () => {
  it('are two application containers of one ordinal, on two nodes or on one', () => {
    const two = sample({
      'a/1': [running('db-0', 'u1')],
      'b/1': [running('db-0', 'u2'), running('db-1', 'u3')],
    });
    expect(findOverlaps([two], watched, isDb)).toEqual(['1970-01-01T00:00:00.000Z db-0: a/1 (u1), b/1 (u2)']);
    expect(countRunning(two, watched, isDb)).toBe(3);
  });

  it('are not an init container that waits, nor pods that may be doubled', () => {
    const fine = sample({
      'a/1': [running('db-0', 'u1'), running('web', 'w1')],
      'b/1': [running('db-0', 'u2', 'fluvia-fence'), running('web', 'w2')],
    });
    expect(findOverlaps([fine], watched, isDb)).toEqual([]);
    expect(countRunning(fine, watched, isDb)).toBe(1);
  });
});
