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
  mode: 'placed' | 'anew' = 'placed',
) =>
  judgeClaims(
    pod,
    {
      claim: (name) => claims[name],
      volume: (name) => volumes[name],
      hasHomeClass: () => hasClass,
      hasClass: (name) => name === 'disk',
      now: () => Date.parse('2026-11-25T12:00:00Z'),
    },
    mode,
  );

describe('judgeClaims', () => {
  it('holds a pod whose claim does not exist', () => {
    expect(judge(spec('data'), {}).waits).toMatch(/^PersistentVolumeClaim data does not exist: create it/);
  });

  it('leaves claims of other classes at home', () => {
    const verdict = judge(spec('data'), { data: claim('local-path') });
    expect(verdict).toEqual({
      floating: new Set(),
      nodeSelector: {},
      notHome: undefined,
      stays:
        'claim data is of class local-path, which does not exist; class fluvia makes volumes that follow their pods',
      waits: undefined,
      refused: new Map(),
      unmade: [],
    });
    expect(judge(spec('data'), { data: claim('disk') }).stays).toMatch(/class disk, whose volumes are in/);
    expect(judge(spec('data'), { data: claim('') }).stays).toMatch(/a volume of this cluster only/);
    expect(whyNotFloatable({ metadata: { name: 'p' }, spec: spec('data') }, verdict.floating)).toContain(
      'in this cluster only',
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

  describe('of a volume that was never made', () => {
    const refused = (place: string, at: string) =>
      JSON.stringify({ [place]: { at, message: 'out of space' } });
    const judged = (annotations: Record<string, string>, mode: 'placed' | 'anew' = 'anew', hasClass = true) =>
      judge(
        spec('data'),
        { data: claim('fluvia', 'fluvia-v1') },
        { 'fluvia-v1': volume({ 'fluvia.dev/location': 'east', 'fluvia.dev/epoch': '1', ...annotations }) },
        hasClass,
        mode,
      );

    it('lets its pod go anywhere but where it could not be made', () => {
      const verdict = judged({ 'fluvia.dev/refused': refused('east', '2026-11-25T11:55:00Z') });
      expect(verdict).toMatchObject({ nodeSelector: {}, notHome: undefined, stays: undefined });
      expect([...verdict.refused]).toEqual([
        ['east', 'it could not make the volume of claim data: out of space'],
      ]);
      expect(verdict.unmade).toEqual(['data']);
      expect(judged({}, 'anew', false).notHome).toContain('no default StorageClass');
    });

    it('still sends it to where it is to be made, as long as that fits', () => {
      expect(judged({}, 'placed').nodeSelector).toEqual({ 'fluvia.dev/volume-v1': 'true' });
    });

    it.each([
      ['an old refusal', { 'fluvia.dev/refused': refused('east', '2026-11-25T11:49:00Z') }],
      ['one of a clock that was ahead', { 'fluvia.dev/refused': refused('east', '2026-11-25T12:11:00Z') }],
      ['one that nobody can read', { 'fluvia.dev/refused': '{"east": 1}' }],
    ])('forgets %s', (_, annotations) => {
      expect(judged(annotations).refused.size).toBe(0);
    });

    it('keeps it from home, where home could not', () => {
      const verdict = judged({ 'fluvia.dev/refused': refused('@home', '2026-11-25T11:55:00Z') });
      expect(verdict.notHome).toContain('out of space');
    });

    it('holds its pod while it leaves', () => {
      expect(judged({ 'fluvia.dev/anew': 'west' }).waits).toBe(
        'the volume of claim data, not made at east, is to be made at west',
      );
    });

    it.each([{ 'fluvia.dev/made': 'true' }, { 'fluvia.dev/epoch': '2' }])(
      'is another matter once it was made: %j',
      (made) => {
        const verdict = judged({
          'fluvia.dev/refused': refused('east', '2026-11-25T11:55:00Z'),
          ...made,
        });
        expect(verdict).toMatchObject({
          nodeSelector: { 'fluvia.dev/volume-v1': 'true' },
          notHome: 'the volume of claim data is at east',
          unmade: [],
        });
        expect(verdict.refused.size).toBe(0);
      },
    );
  });
});
