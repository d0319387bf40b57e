/** A row: what it is, and how a run's figure is written. */
export type FigureRow<T> = readonly [name: string, show: (run: T) => string];

/** The figures of several runs side by side, for people. */
export const figureTable = <T>(
  rows: readonly FigureRow<T>[],
  runs: readonly T[],
  widths: { readonly name: number; readonly figure: number },
): string =>
  rows
    .map(
      ([name, show]) =>
        `${name.padEnd(widths.name)}${runs.map((run) => show(run).padStart(widths.figure)).join('')}`,
    )
    .join('\n');
