/** Which volumes a change of a Node concerns. Pure. */
import { volumeNodeLabel } from '../../api/storage-names.ts';
import type { Change } from '../../runtime/kube/cache.ts';
import type { Node } from '../../runtime/kube/types.ts';

const PREFIX = volumeNodeLabel('');

const labelledFor = ({ metadata }: Node): readonly string[] =>
  Object.keys(metadata.labels ?? {})
    .filter((key) => key.startsWith(PREFIX))
    .map((key) => key.slice(PREFIX.length));

const otherLabels = ({ metadata }: Node): string =>
  JSON.stringify(
    Object.entries(metadata.labels ?? {})
      .filter(([key]) => !key.startsWith(PREFIX))
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );

/**
 * Volume IDs to look at: those whose label came or went, and all where a node is new, made again without its labels, gone
 * with labels of volumes that may be gone, or has other labels by which the source of a volume chooses its nodes.
 */
export const volumesOf = (
  { type, object, old }: Change<Node>,
  all: () => readonly string[],
): readonly string[] => {
  if (type !== 'updated') return [...new Set([...labelledFor(object), ...all()])];
  const [before, after] = [labelledFor(old), labelledFor(object)];
  const changed = [...before, ...after].filter((id) => before.includes(id) !== after.includes(id));
  return otherLabels(old) === otherLabels(object) ? changed : [...new Set([...changed, ...all()])];
};
