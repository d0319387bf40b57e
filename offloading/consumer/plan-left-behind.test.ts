import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { whyLeftBehind } from './plan-left-behind.ts';

const pod = (candidates: readonly string[] | undefined, nodeName?: string): Pod =>
  ({
    metadata: {
      name: 'db-0',
      ...(candidates === undefined
        ? {}
        : {
            annotations: {
              'fluvia.dev/placement': JSON.stringify({
                place: candidates[0],
                node: 'n',
                candidates,
                rejected: {},
              }),
            },
          }),
    },
    spec: {
      ...(nodeName === undefined ? {} : { nodeName }),
      containers: [],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
    },
  }) as unknown as Pod;
const at = (location: string, more: Record<string, string> = {}, storageClassName = 'fluvia') => {
  const claim = { metadata: { name: 'data' }, spec: { storageClassName, volumeName: 'pv' } };
  const volume = { metadata: { name: 'pv', annotations: { 'fluvia.dev/location': location, ...more } } };
  return {
    claim: () => claim as unknown as PersistentVolumeClaim,
    volume: () => volume as unknown as PersistentVolume,
  };
};

const MADE = { 'fluvia.dev/made': 'true' };

describe('whyLeftBehind', () => {
  it('names a volume that is elsewhere by now', () => {
    expect(whyLeftBehind(pod(['east']), undefined, at('@home'))).toContain('in this cluster');
    expect(whyLeftBehind(pod(['@home']), undefined, at('west'))).toContain('at west');
    expect(whyLeftBehind(pod(['east', '@home']), undefined, at('west'))).toContain(
      'it was to go to east, this cluster',
    );
  });

  it.each([
    ['one that may still be bound', pod(['east']), at('east')],
    ['one that may go home', pod(['east', '@home']), at('@home')],
    ['one that runs, and that a move lets go', pod(['east'], 'fluvia-east'), at('@home', MADE)],
    ['one that was bound where its volume is to be made', pod(['west'], 'fluvia-east'), at('east')],
    [
      'one whose volume is about to leave',
      pod(['east'], 'fluvia-east'),
      at('west', { 'fluvia.dev/anew': 'north' }),
    ],
    ['one on a node of home', pod(['@home'], 'n1'), at('east')],
    ['one that nobody has placed', pod(undefined), at('@home')],
    ['one whose volume moves', pod(['east']), at('@home', { 'fluvia.dev/move': '{}' })],
    ['one with another volume', pod(['east']), at('@home', {}, 'disk')],
  ])('leaves %s alone', (_what, one, lookup) => {
    const peer = one.spec.nodeName === 'fluvia-east' ? 'east' : undefined;
    expect(whyLeftBehind(one, peer, lookup)).toBeUndefined();
  });

  it('names a volume that was never made, and left in the moment in which the pod was bound', () => {
    expect(whyLeftBehind(pod(['east'], 'fluvia-east'), 'east', at('west'))).toContain('at west');
  });
});
