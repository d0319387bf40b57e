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

/** One copy of a pod: in which samples it was seen running. */
export interface Life {
  readonly pod: string;
  /** Node and UID of the copy. */
  readonly copy: string;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** Every copy of the watched pods that any sample shows, in the order of their beginning. */
export const livesOf = (samples: readonly ContainerSample[], watched: Watched): readonly Life[] => {
  const lives = new Map<string, Life>();
  for (const sample of samples) {
    for (const [pod, copies] of copiesOf(sample, watched)) {
      for (const copy of copies) {
        const firstMs = lives.get(copy)?.firstMs ?? sample.atMs;
        lives.set(copy, { pod, copy, firstMs, lastMs: sample.atMs });
      }
    }
  }
  return [...lives.values()].toSorted((a, b) => a.firstMs - b.firstMs);
};

/** From the last sample that shows a copy to the first that shows the pod's next: the shortest of all; negative: they overlap. */
export const shortestHandover = (lives: readonly Life[]): number =>
  Math.min(
    ...Map.groupBy(lives, ({ pod }) => pod)
      .values()
      .flatMap((own) => own.slice(1).map((next, i) => next.firstMs - (own[i]?.lastMs ?? -Infinity))),
  );

/** How far samples are apart, in milliseconds. */
export interface Gaps {
  readonly samples: number;
  readonly median: number;
  readonly p99: number;
  readonly longest: number;
  /** Gaps longer than the bound. */
  readonly over: number;
}

/** The distribution of the gaps between samples. */
export const gapsOf = (samples: readonly ContainerSample[], boundMs: number): Gaps => {
  const gaps = samples
    .slice(1)
    .map((sample, i) => sample.atMs - (samples[i]?.atMs ?? sample.atMs))
    .toSorted((a, b) => a - b);
  const at = (share: number): number => gaps[Math.min(gaps.length - 1, Math.floor(share * gaps.length))] ?? 0;
  return {
    samples: samples.length,
    median: at(0.5),
    p99: at(0.99),
    longest: gaps.at(-1) ?? 0,
    over: gaps.filter((gap) => gap > boundMs).length,
  };
};
