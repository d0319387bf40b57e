/** What the database acknowledged and what it still has. Pure. */

/** A row that the database said is stored. */
export interface Acknowledged {
  readonly n: number;
  readonly atMs: number;
}

/** What became of acknowledged rows. */
export interface RowVerdict {
  readonly acknowledged: number;
  readonly lost: readonly Acknowledged[];
  /** From the oldest lost row's acknowledgement to `lossMs`; undefined when none is lost. */
  readonly oldestLostMs: number | undefined;
}

/** The writer's log with `kubectl logs --timestamps`: a time and the number of an acknowledged row per line. */
export const parseAcknowledged = (log: string): readonly Acknowledged[] =>
  log.split('\n').flatMap((line) => {
    const match = /^(\S+) acknowledged (\d+)$/.exec(line);
    return match === null ? [] : [{ n: Number(match[2]), atMs: Date.parse(match[1] ?? '') }];
  });

/** Numbers, one a line, as `psql -At` prints them. */
export const parseNumbers = (output: string): ReadonlySet<number> =>
  new Set(
    output
      .split('\n')
      .filter((line) => /^\d+$/.test(line))
      .map(Number),
  );

/** Compares; `acknowledged` must have been read before `present`. */
export const judgeRows = (
  acknowledged: readonly Acknowledged[],
  present: ReadonlySet<number>,
  lossMs: number,
): RowVerdict => {
  const lost = acknowledged.filter(({ n }) => !present.has(n));
  const oldest = Math.min(...lost.map(({ atMs }) => atMs));
  return {
    acknowledged: acknowledged.length,
    lost,
    oldestLostMs: lost.length === 0 ? undefined : lossMs - oldest,
  };
};
