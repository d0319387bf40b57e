import { describe, expect, it } from 'vitest';
import type { ContainerSample } from '../support/containers.ts';
import { countRunning, findOverlaps, gapsOf, livesOf, shortestHandover } from './plan-overlap.ts';

const running = (pod: string, podUID: string, container = 'main') => ({
  id: `${podUID}-${container}`,
  namespace: 'drill',
  pod,
  podUID,
  container,
});
const sample = (nodes: Record<string, ReturnType<typeof running>[]>, atMs = 0): ContainerSample => ({
  atMs,
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

describe('lives', () => {
  const samples = [
    sample({ 'a/1': [running('db-0', 'u1'), running('db-1', 'u2')] }, 0),
    sample({ 'a/1': [running('db-0', 'u1')] }, 250),
    sample({ 'b/1': [running('db-1', 'u3')] }, 500),
    sample({ 'b/1': [running('db-1', 'u3'), running('db-0', 'u4')] }, 1500),
  ];

  it('tell when each copy was seen, and how close two copies of a pod came', () => {
    const lives = livesOf(samples, watched);
    expect(lives.map(({ copy, firstMs, lastMs }) => [copy, firstMs, lastMs])).toEqual([
      ['a/1 (u1)', 0, 250],
      ['a/1 (u2)', 0, 0],
      ['b/1 (u3)', 500, 1500],
      ['b/1 (u4)', 1500, 1500],
    ]);
    expect(shortestHandover(lives)).toBe(500);
  });

  it('that overlap are a handover of less than nothing', () => {
    const both = sample({ 'a/1': [running('db-0', 'u1')], 'b/1': [running('db-0', 'u4')] }, 1750);
    expect(shortestHandover(livesOf([...samples, both], watched))).toBe(-250);
  });

  it('are as sure as the gaps between the samples', () => {
    expect(gapsOf(samples, 500)).toEqual({ samples: 4, median: 250, p99: 1000, longest: 1000, over: 1 });
  });
});
