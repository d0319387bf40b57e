import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { PodSpec } from '../../runtime/kube/types.ts';
import { judgeClaims } from './plan-claims.ts';
import { whyNotFloatable } from './plan-floatable.ts';

const spec = (...claims: readonly string[]): PodSpec => ({
  containers: [{ name: 'c' }],
  volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
});
const claim = (storageClassName: string, volumeName?: string): PersistentVolumeClaim => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'data' },
  spec: { storageClassName, ...(volumeName === undefined ? {} : { volumeName }) },
});
const volume = (annotations: Record<string, string>): PersistentVolume => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: 'fluvia-v1', labels: { 'fluvia.dev/volume': 'v1' }, annotations },
  spec: {},
});
const judge = (
  pod: PodSpec,
  claims: Record<string, PersistentVolumeClaim>,
  volumes: Record<string, PersistentVolume> = {},
  hasClass = true,
) =>
  judgeClaims(pod, {
    claim: (name) => claims[name],
    volume: (name) => volumes[name],
    hasHomeClass: () => hasClass,
  });

describe('judgeClaims', () => {
  it('holds a pod whose claim does not exist', () => {
    expect(judge(spec('data'), {}).waits).toBe('PersistentVolumeClaim data does not exist');
  });

  it('leaves claims of other classes at home', () => {
    const verdict = judge(spec('data'), { data: claim('local-path') });
    expect(verdict).toEqual({
      floating: new Set(),
      nodeSelector: {},
      notHome: undefined,
      stays: undefined,
      waits: undefined,
    });
    expect(whyNotFloatable({ metadata: { name: 'p' }, spec: spec('data') }, verdict.floating)).toContain(
      'PersistentVolumeClaim',
    );
  });

  it('lets a pod with a new volume go anywhere, home included where that has a class', () => {
    const verdict = judge(spec('data'), { data: claim('fluvia') });
    expect(verdict).toMatchObject({ notHome: undefined, stays: undefined });
    expect(judge(spec('data'), { data: claim('fluvia') }, {}, false).notHome).toContain(
      'no default StorageClass',
    );
    expect(
      whyNotFloatable({ metadata: { name: 'p' }, spec: spec('data') }, verdict.floating),
    ).toBeUndefined();
  });

  it('sends a pod to where its volume is', () => {
    const verdict = judge(
      spec('data'),
      { data: claim('fluvia', 'fluvia-v1') },
      { 'fluvia-v1': volume({ 'fluvia.dev/location': 'east' }) },
    );
    expect(verdict.nodeSelector).toEqual({ 'fluvia.dev/volume-v1': 'true' });
    expect(verdict.notHome).toBe('the volume of claim data is at east');
    expect(verdict.waits).toBeUndefined();
  });

  it('keeps a pod at home whose volume is there', () => {
    const verdict = judge(
      spec('data'),
      { data: claim('fluvia', 'fluvia-v1') },
      { 'fluvia-v1': volume({ 'fluvia.dev/location': '@home' }) },
    );
    expect(verdict).toMatchObject({
      notHome: undefined,
      stays: 'the volume of claim data is in this cluster',
    });
    expect(verdict.nodeSelector).toEqual({ 'fluvia.dev/volume-v1': 'true' });
  });

  it('holds a pod whose volume is being moved', () => {
    const verdict = judge(
      spec('data'),
      { data: claim('fluvia', 'fluvia-v1') },
      { 'fluvia-v1': volume({ 'fluvia.dev/location': 'east', 'fluvia.dev/move': '{}' }) },
    );
    expect(verdict.waits).toContain('being moved from east');
  });
});
