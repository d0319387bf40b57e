/** Why a mover is given up before its deadline. Pure. */
import type { PlaceState } from './place-loss.ts';

/** A mover that has not ended, as home knows it. */
export interface UnendedTransfer {
  /** Place that runs it, and place whose store it talks to. */
  readonly runner: string;
  readonly target: string;
  readonly states: Readonly<Record<'runner' | 'target', PlaceState>>;
  readonly isRunning: boolean;
  /** For how long it has not begun to run; 0 while it waits for its turn. */
  readonly waitedMs: number;
  /** What it waits for, as its runner says, or as home knows. */
  readonly message: string | undefined;
}

/** Time for an image, a new volume, a new node; not for one that never comes: pods may be waiting for the mover's end. */
const BEGIN_MS = 180_000;

const isNoAnswer = (state: PlaceState): boolean => state === 'lost' || state === 'paused';

const silent = (peer: string, state: PlaceState): string =>
  state === 'paused'
    ? `PeerPaused: peer ${peer} is paused: set its spec.paused to false`
    : `PeerLost: peer ${peer} does not answer: fluviactl info ${peer}`;

/** Why no end of it is to be expected, with the next step; undefined while there is one. */
export const whyStuck = (transfer: UnendedTransfer): string | undefined => {
  const { runner, target, states, message } = transfer;
  if (isNoAnswer(states.runner)) return silent(runner, states.runner);
  if (isNoAnswer(states.target)) return silent(target, states.target);
  if (transfer.isRunning || transfer.waitedMs <= BEGIN_MS) return undefined;
  return `NotStarted: the mover did not begin within ${BEGIN_MS / 1000} s: ${message ?? `nothing is said of why: fluviactl info ${runner}`}`;
};
