/** Judges samples of running containers. Pure. */
import type { ContainerSample } from '../support/containers.ts';

/** Which application containers to look at. */
export interface Watched {
  readonly namespace: string;
  /** Name of the application container; init containers don't count. */
  readonly container: string;
}

/** Pod → the UIDs and nodes at which its application container runs in this sample. */
const copiesOf = (
  { nodes }: ContainerSample,
  { namespace, container }: Watched,
): ReadonlyMap<string, readonly string[]> => {
  const copies = new Map<string, string[]>();
  for (const [node, list] of nodes) {
    for (const one of list) {
      if (one.namespace !== namespace || one.container !== container) continue;
      copies.set(one.pod, [...(copies.get(one.pod) ?? []), `${node} (${one.podUID})`]);
    }
  }
  return copies;
};

/** Every sample in which a pod whose name fits runs more than once; for people. */
export const findOverlaps = (
  samples: readonly ContainerSample[],
  watched: Watched,
  isFenced: (pod: string) => boolean,
): readonly string[] =>
  samples.flatMap((sample) =>
    [...copiesOf(sample, watched)]
      .filter(([pod, places]) => isFenced(pod) && places.length > 1)
      .map(([pod, places]) => `${new Date(sample.atMs).toISOString()} ${pod}: ${places.join(', ')}`),
  );

/** How many copies run of all pods whose name fits. */
export const countRunning = (
  sample: ContainerSample | undefined,
  watched: Watched,
  isOne: (pod: string) => boolean,
): number =>
  sample === undefined
    ? 0
    : [...copiesOf(sample, watched)]
        .filter(([pod]) => isOne(pod))
        .reduce((sum, [, places]) => sum + places.length, 0);
