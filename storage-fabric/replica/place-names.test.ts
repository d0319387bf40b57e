import { describe, expect, it } from 'vitest';
import type { VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { createPlaceNames } from './place-names.ts';
import { whyClosedAtHome } from './plan-target.ts';

const replica = {
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'VolumeReplica',
  metadata: { name: 'db' },
  spec: { claimName: 'data', peers: ['berlin', 'east'] },
  status: { location: 'berlin', points: [{ peer: 'berlin' }, { peer: 'east' }] },
} as unknown as VolumeReplica;

describe('names of places', () => {
  it("takes this cluster's own name for home, and gives it back", () => {
    const names = createPlaceNames('berlin', () => false);
    const placed = names.inPlaces(replica);
    expect(placed.spec.peers).toEqual(['@home', 'east']);
    expect(placed.status).toMatchObject({ location: '@home', points: [{ peer: '@home' }, { peer: 'east' }] });
    expect(names.inNames(placed.status ?? {})).toEqual(replica.status);
  });

  it('leaves a peer its name, also where it is that of this cluster', () => {
    const names = createPlaceNames('berlin', (name) => name === 'berlin');
    expect(names.inPlaces(replica)).toEqual(replica);
  });

  it('says no place by its inner name', () => {
    const names = createPlaceNames('berlin', () => false);
    const condition = {
      type: 'Ready',
      status: 'False',
      reason: 'X',
      message: 'peer @home is y',
      lastTransitionTime: '',
    };
    expect(names.inNames({ lastError: 'copy to @home', conditions: [condition] } as never)).toMatchObject({
      lastError: 'copy to berlin',
      conditions: [{ message: 'peer berlin is y' }],
    });
  });
});

describe('whyClosedAtHome', () => {
  const opened = (strategy: string) => ({ spec: { strategy } }) as never;

  it('keeps volumes away from where their pods must not run', () => {
    expect(whyClosedAtHome('shop', opened('Remote'))).toMatchObject({ reason: 'NamespaceRemote' });
    expect(whyClosedAtHome('shop', opened('LocalAndRemote'))).toBeUndefined();
    expect(whyClosedAtHome('shop', opened('Local'))).toBeUndefined();
    expect(whyClosedAtHome('shop', undefined)).toBeUndefined();
  });
});
