import { stringify } from 'yaml';

/** Objects as a stream of YAML documents, without anchors or folded lines, so that a diff shows one change as one line. */
export const toYaml = (...documents: readonly unknown[]): string =>
  documents
    .map((document) => stringify(document, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
