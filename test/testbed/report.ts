/** Where the lines go that tell how far something is. */
export type Report = (line: string) => void;

export const silent: Report = () => undefined;

/** Stamps lines with the seconds since it was made. */
export const timed = (report: Report): Report => {
  const start = performance.now();
  return (line) => report(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`);
};
