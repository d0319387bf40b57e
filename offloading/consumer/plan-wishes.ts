/** Where placement wants volumes that were never made: one wish for each claim, kept as long as it fits. Pure. */
import type { PlaceName, Ranked } from './plan-placement.ts';

/** A gated pod that fits nowhere as its volumes are, and would elsewhere. */
export interface PodWithWish {
  /** UID. */
  readonly pod: string;
  /** Claims of it whose volumes were never made. */
  readonly claims: readonly {
    readonly name: string;
    /** Where its volume is wanted so far; undefined while nobody wants it anywhere. */
    readonly wanted: PlaceName | undefined;
  }[];
  /** Where the pod fits, if they were made there; best first. */
  readonly ranked: readonly Ranked[];
}

/** A claim's volume is wanted on a node, for a pod. */
export interface Wish {
  readonly pod: string;
  readonly claim: string;
  readonly node: string;
}

/**
 * What to write. Nothing about claims in `held`: pods that use them are bound, or on their way to where the volume is to be. Of
 * pods that share a claim the first has its wish. A wish that still fits stays: else it would wander with the room.
 */
export const planWishes = (pods: readonly PodWithWish[], held: ReadonlySet<string>): readonly Wish[] => {
  const taken = new Set<string>();
  return pods.flatMap(({ pod, claims, ranked }): Wish[] => {
    if (claims.some(({ name }) => held.has(name) || taken.has(name))) return [];
    const target =
      claims.flatMap(({ wanted }) => ranked.find(({ place }) => place === wanted) ?? [])[0] ?? ranked[0];
    if (target === undefined) return [];
    for (const { name } of claims) taken.add(name);
    return claims
      .filter(({ wanted }) => wanted !== target.place)
      .map(({ name }) => ({ pod, claim: name, node: target.node }));
  });
};
