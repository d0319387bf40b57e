const partsOf = (version: string): readonly number[] =>
  (/^v?(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);

/** Whether version `a` is newer than `b`, by their three numbers; a version that is not written so never is. */
export const isNewer = (a: string, b: string): boolean => {
  const theirs = partsOf(b);
  const differing = partsOf(a).findIndex((part, i) => part !== theirs[i]);
  return differing >= 0 && theirs.length > 0 && (partsOf(a)[differing] ?? 0) > (theirs[differing] ?? 0);
};
