import { safeLine } from './safe-text.ts';

/** Columns as kubectl prints them: upper-case heads, three spaces between, nothing after the last. */
export const formatTable = (heads: readonly string[], rows: readonly (readonly string[])[]): string => {
  const all = [heads.map((head) => head.toUpperCase()), ...rows.map((row) => row.map(safeLine))];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => (column === heads.length - 1 ? cell : cell.padEnd((widths[column] ?? 0) + 3)))
        .join('')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
};
