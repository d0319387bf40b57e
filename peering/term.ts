/** The leader's fencing number, as peers see it. */
export interface Term {
  current(): number;
  /** A peer has seen a higher one (this cluster's Lease was made anew): go above it. */
  raiseAbove(seen: number): void;
}

/** Begins at `transitions`; `onRaise` makes a raised number outlive this process. */
export const createTerm = (transitions: number, onRaise: (term: number) => void = () => {}): Term => {
  let current = transitions;
  return {
    current: () => current,
    raiseAbove: (seen) => {
      if (seen < current) return;
      current = seen + 1;
      onRaise(current);
    },
  };
};
