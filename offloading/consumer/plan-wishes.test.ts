import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ranked } from './plan-placement.ts';
import { planWishes, type PodWithWish } from './plan-wishes.ts';

const ranked = (...places: readonly string[]): readonly Ranked[] =>
  places.map((place) => ({ place, node: `node-${place}` }) as Ranked);
const pod = (
  name: string,
  claims: Readonly<Record<string, string | undefined>>,
  ...places: readonly string[]
): PodWithWish => ({
  pod: name,
  claims: Object.entries(claims).map(([claim, wanted]) => ({ name: claim, wanted })),
  ranked: ranked(...places),
});
const NONE: ReadonlySet<string> = new Set();

describe('planWishes', () => {
  it('wants a volume where its pod fits best', () => {
    expect(planWishes([pod('a', { data: 'east' }, 'west', 'north')], NONE)).toEqual([
      { pod: 'a', claim: 'data', node: 'node-west' },
    ]);
  });

  it('keeps a wish that still fits, also that for where the volume is to be', () => {
    expect(planWishes([pod('a', { data: 'north' }, 'west', 'north')], NONE)).toEqual([]);
  });

  it('has one wish for a claim that pods share: that of the first', () => {
    const pods = [pod('a', { data: 'east' }, 'west', 'north'), pod('b', { data: 'east' }, 'north', 'west')];
    expect(planWishes(pods, NONE)).toEqual([{ pod: 'a', claim: 'data', node: 'node-west' }]);
  });

  it('brings all volumes of a pod to one place', () => {
    expect(planWishes([pod('a', { data: 'east', log: 'west' }, 'west')], NONE)).toEqual([
      { pod: 'a', claim: 'data', node: 'node-west' },
    ]);
  });

  it('leaves a volume that another pod is bound to, or on its way', () => {
    expect(planWishes([pod('a', { data: 'east' }, 'west')], new Set(['data']))).toEqual([]);
    expect(planWishes([pod('a', { data: 'east', log: 'east' }, 'west')], new Set(['log']))).toEqual([]);
  });

  it('wishes nothing twice once its wishes are written, and never two places for a claim', () => {
    const places = ['east', 'west', 'north', '@home'];
    const claim = fc.constantFrom('c1', 'c2', 'c3');
    const wanted = fc.record({
      c1: fc.constantFrom(...places),
      c2: fc.constantFrom(...places),
      c3: fc.constantFrom(...places),
    });
    const pods = fc.array(
      fc.record({ claims: fc.uniqueArray(claim, { minLength: 1 }), ranked: fc.shuffledSubarray(places) }),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(pods, wanted, (all, before) => {
        let now: Record<string, string> = before;
        const plan = (): ReturnType<typeof planWishes> =>
          planWishes(
            all.map((one, i) =>
              pod(`p${i}`, Object.fromEntries(one.claims.map((name) => [name, now[name]])), ...one.ranked),
            ),
            NONE,
          );
        const first = plan();
        expect(new Set(first.map((wish) => wish.claim)).size).toBe(first.length);
        now = {
          ...now,
          ...Object.fromEntries(first.map((wish) => [wish.claim, wish.node.slice('node-'.length)])),
        };
        expect(plan()).toEqual([]);
      }),
    );
  });
});
