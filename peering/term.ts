import { ERROR_CODES, FluviaError } from '../api/errors.ts';

/** Leader terms as peers see them: fencing numbers, by which a peer refuses a leader whose term is over. */

/** The highest number of a term: what crosses a link as a number and stays exact. */
export const MOST_TERM = Number.MAX_SAFE_INTEGER;

/** The leadership of this process. */
export interface Term {
  /** Transitions of the Lease in this term. */
  readonly transitions: number;
  /** Whether the Lease is held right now. */
  isLeading(): boolean;
}

/** This cluster's term as one peer is told it. */
export interface LinkTerm {
  current(): number;
  /** The peer has seen a higher one: go above it, for this peer. False when this process may not, or needs not. */
  raiseAbove(seen: number): boolean;
}

/**
 * Begins at the Lease's transitions. An honest peer has seen a higher number when this cluster's Lease was made anew; it keeps
 * that number in its own Peer, so a raised one need not outlive this process: the next leader is told again. What one peer
 * says never reaches another, whose own memory would then hold it.
 */
export const createLinkTerm = (term: Term): LinkTerm => {
  let current = term.transitions;
  return {
    current: () => current,
    raiseAbove: (seen) => {
      // A leader that has lost its Lease is what the number is there to keep out.
      if (!Number.isSafeInteger(seen) || seen <= current || !term.isLeading()) return false;
      // Equal numbers pass, so that a peer whose memory is at the end of the numbers can still be reached.
      current = Math.min(seen + 1, MOST_TERM);
      return true;
    },
  };
};

/** A Hello of a lower term than one that was seen. `seen` travels in a trailer of its own. */
export class TermOverError extends FluviaError {
  readonly seen: number;

  constructor(seen: number, message: string) {
    super(ERROR_CODES.PROTOCOL, message, { kind: 'stalled' });
    this.seen = seen;
  }
}

/** The highest term of a peer: `seen` unless `said` is higher. A stored number may be of a version that took any.
 * @throws {TermOverError} `said` is lower.
 * @throws {FluviaError} PROTOCOL: `said` is no term. */
export const highestTerm = (seen: number, said: number): number => {
  if (!Number.isSafeInteger(said) || said < 0) {
    throw new FluviaError(
      ERROR_CODES.PROTOCOL,
      'the other end’s leader term is no whole number that can grow',
      {
        kind: 'stalled',
      },
    );
  }
  const highest = Math.min(seen, MOST_TERM);
  if (said < highest) {
    throw new TermOverError(highest, `leader term ${said} is over: ${highest} was seen`);
  }
  return said;
};
