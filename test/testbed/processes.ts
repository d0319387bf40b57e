/** Processes told apart by pid *and* start time, so that a pid used again is never killed for another's sake. */
import { readFileSync } from 'node:fs';

export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, in clock ticks since boot. */
  readonly startTime: string;
}

const statOf = (pid: number): readonly string[] | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // the command's name may hold spaces and brackets: count from its last bracket
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
};

/** The identity of a running process; undefined when there is none (or only its exit status is left). */
export const identify = (pid: number): ProcessId | undefined => {
  const stat = statOf(pid);
  const startTime = stat?.[19];
  return startTime === undefined || stat?.[0] === 'Z' || stat?.[0] === 'X' ? undefined : { pid, startTime };
};

/** Whether exactly this process still runs. */
export const isAlive = (id: ProcessId): boolean => identify(id.pid)?.startTime === id.startTime;

/** The children of a process, by pid. */
export const childrenOf = (pid: number): readonly number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
};

/** Signals a process if it still is the one meant. */
export const signal = (id: ProcessId, name: NodeJS.Signals): void => {
  if (!isAlive(id)) return;
  try {
    process.kill(id.pid, name);
  } catch {
    // it ended between the look and the signal
  }
};

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `done()` holds, looking every `everyMs`; false when it didn't within `withinMs`. */
export const waitUntil = async (
  done: () => boolean | Promise<boolean>,
  withinMs: number,
  everyMs = 50,
): Promise<boolean> => {
  const end = Date.now() + withinMs;
  for (;;) {
    if (await done()) return true;
    if (Date.now() >= end) return false;
    await sleep(everyMs);
  }
};
