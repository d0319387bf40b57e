/** A process that forgets everything without its container ending. */
import type { Logger } from './log.ts';

/**
 * beginAnew replaces this process by a fresh one of the same program: same pid, arguments and environment, nothing of its memory
 * and none of its connections (execve(2)). For state that must not outlive its cause, such as a lost leadership: exiting would
 * do as well, but each exit makes the kubelet wait longer before the next start (CrashLoopBackOff, up to 5 min), and a busy
 * cluster that lost its leader twice would then have none for minutes.
 *
 * Close or flush first what must not be cut: nothing runs after this. Exits with 1 where the system can't do it.
 */
export const beginAnew = (log: Logger, reason: string): never => {
  log.warn('beginning anew', { reason });
  try {
    process.execve?.(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)]);
  } catch (err) {
    log.error('could not begin anew: exiting', { err });
  }
  process.exit(1);
};
