/** How long ago a time was, as kubectl writes it: `45s`, `5m30s`, `3h`, `12d`. What isn't a time stays as it is. */
export const formatAge = (time: string, now: number = Date.now()): string => {
  const then = Date.parse(time);
  if (!/^\d{4}-/.test(time) || Number.isNaN(then)) {
    return time;
  }
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (seconds < 120) {
    return `${seconds}s`;
  }
  if (minutes < 10) {
    return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  }
  if (hours < 3) {
    return `${minutes}m`;
  }
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
};
