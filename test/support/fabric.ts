import { ensureFluviaImage } from '../../deploy/image/build.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** Builds the Fluvia image of this checkout (cached) and loads it into every node; returns its reference. */
export const prepareFluvia = async (
  testbed: Testbed,
  clusters: readonly string[],
  report: (line: string) => void = () => undefined,
): Promise<string> => {
  const { reference, archive } = await ensureFluviaImage(report);
  await Promise.all(clusters.map((cluster) => testbed.load(cluster, archive)));
  return reference;
};
