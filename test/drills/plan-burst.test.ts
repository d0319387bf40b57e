import { describe, expect, it } from 'vitest';
import { judgeBurst, millicores, type BurstPod } from './plan-burst.ts';

const pod = (name: string, cpu: number, node?: string, isAtPeer = false): BurstPod => ({
  name,
  millicores: cpu,
  isAtPeer,
  node,
  isRunning: node !== undefined,
});

describe('a burst', () => {
  it('strands a pod that is pending while a node has room for it, wherever either is', () => {
    const pods = [pod('a', 30, 'n1'), pod('b', 30, undefined, true), pod('c', 60), pod('d', 15)];
    const nodes = [
      { name: 'n1', free: 0 },
      { name: 'n2', free: 30 },
    ];
    expect(judgeBurst(pods, nodes)).toEqual({
      bound: 1,
      running: 1,
      pending: 3,
      pendingAtPeers: 1,
      stranded: ['b (30m)', 'd (15m)'],
      taken: 30,
    });
  });

  it('reads quantities of cpu', () => {
    expect(['2', '1.5', '15m', '0'].map(millicores)).toEqual([2000, 1500, 15, 0]);
  });
});
