import { describe, expect, it } from 'vitest';
import type { Job } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { isEnded, mostMovers, transferStatus, writerOf } from './plan-transfer.ts';

const job = (...conditions: readonly { readonly type: string; readonly reason?: string }[]): Job =>
  ({
    metadata: { name: 'mover' },
    status: { conditions: conditions.map((one) => ({ ...one, status: 'True' })) },
  }) as unknown as Job;
const pod = (phase: string, terminated?: { readonly exitCode: number; readonly message?: string }): Pod =>
  ({
    metadata: { name: 'mover-1' },
    status: { phase, containerStatuses: [{ name: 'mover', state: terminated ? { terminated } : {} }] },
  }) as unknown as Pod;
const result = {
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: '2026-11-25T03:00:00Z',
  bytesScanned: 1,
  bytesSent: 1,
};
const good = { exitCode: 0, message: JSON.stringify({ ok: true, result }) };
const bad = { exitCode: 1, message: JSON.stringify({ ok: false, reason: 'Locked', message: 'by another' }) };

describe('what is told of a transfer', () => {
  it('is the word of the mover as soon as it has ended: its Job says so seconds later', () => {
    expect(transferStatus('backup', job(), [pod('Running', good)], undefined)).toEqual({
      phase: 'Succeeded',
      result,
    });
    expect(transferStatus('restore', job(), [pod('Succeeded', good)], undefined)).toEqual({
      phase: 'Succeeded',
    });
    expect(transferStatus('backup', job(), [pod('Running', bad)], undefined)).toEqual({
      phase: 'Failed',
      reason: 'Locked',
      message: 'by another',
    });
  });

  it('is no success when the mover was killed after it had said so', () => {
    const killed = { ...good, exitCode: 137 };
    expect(transferStatus('backup', job(), [pod('Running', killed)], undefined).phase).toBe('Running');
    expect(
      transferStatus('backup', job({ type: 'Failed' }), [pod('Failed', killed)], undefined),
    ).toMatchObject({ phase: 'Failed' });
  });

  it('is what the Job says of a mover that said nothing', () => {
    const silent = pod('Failed', { exitCode: 137 });
    expect(transferStatus('backup', job(), [silent], undefined).phase).toBe('Pending');
    const failed = job({ type: 'FailureTarget', reason: 'BackoffLimitExceeded' });
    expect(transferStatus('backup', failed, [silent], undefined)).toMatchObject({
      phase: 'Failed',
      reason: 'BackoffLimitExceeded',
    });
    expect(transferStatus('backup', job({ type: 'Complete' }), [], undefined)).toMatchObject({
      phase: 'Failed',
      reason: 'NoResult',
    });
  });

  it('is how far it is while it runs', () => {
    expect(transferStatus('backup', job(), [pod('Running')], { done: 5, total: 10 })).toEqual({
      phase: 'Running',
      bytesDone: 5,
      bytesTotal: 10,
    });
  });
});

describe('movers at once', () => {
  it('are few for copies, and a restore finds room beside them', () => {
    expect(mostMovers('restore')).toBeGreaterThan(mostMovers('backup'));
    expect(mostMovers('maintain')).toBe(mostMovers('backup'));
    expect(
      [job(), job({ type: 'FailureTarget' }), job({ type: 'Failed' }), job({ type: 'Complete' })].map(
        isEnded,
      ),
    ).toEqual([false, false, true, true]);
  });
});

describe('who may still write to a volume', () => {
  const user = (more: {
    readonly labels?: object;
    readonly claimName?: string;
    readonly phase?: string;
  }): Pod =>
    ({
      metadata: { name: 'db-0', labels: more.labels ?? {} },
      spec: {
        volumes: [
          { name: 'tmp', emptyDir: {} },
          { name: 'd', persistentVolumeClaim: { claimName: more.claimName ?? 'data' } },
        ],
      },
      status: { phase: more.phase ?? 'Running' },
    }) as unknown as Pod;

  it('is a pod that uses it and has not ended, also one that home has let go; no mover', () => {
    expect(writerOf('data', [user({})])?.metadata.name).toBe('db-0');
    expect(writerOf('data', [user({ phase: 'Pending' })])).toBeDefined();
    for (const phase of ['Succeeded', 'Failed']) expect(writerOf('data', [user({ phase })])).toBeUndefined();
    expect(writerOf('data', [user({ claimName: 'other' })])).toBeUndefined();
    expect(writerOf('data', [user({ labels: { 'fluvia.dev/transfer': 'x' } })])).toBeUndefined();
  });
});
