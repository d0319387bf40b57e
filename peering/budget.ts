/**
 * How much memory the items of peers take here. Counts of items are no bound of bytes: 50,000 objects of 1.5 MiB are 75 GiB.
 * Amounts are those of `weightOf`, an estimate that hostile JSON was seen to exceed up to threefold; so all links together
 * stay within the controller's heap (768 MiB) at worst.
 */

const MIB = 1024 * 1024;

export const BUDGET = {
  /** All collections of one peer: some 15,000 pods of 3 KiB. */
  linkBytes: 128 * MIB,
  /** What all links take beyond their own part. */
  sharedBytes: 192 * MIB,
  /** What each link has whatever the others take. */
  ownBytes: 4 * MIB,
} as const;

/** One link's part. */
export interface LinkBudget {
  /** Takes (or gives back, when negative) so much; else says which limit stands in the way, and takes nothing. */
  take(bytes: number): 'link' | 'all' | undefined;
  held(): number;
  /** Gives everything back, for good. */
  close(): void;
}

/** The memory of one process, divided among links. */
export interface Budgets {
  link(): LinkBudget;
}

/** A process without links. */
export const createBudgets = (limits: Record<keyof typeof BUDGET, number> = BUDGET): Budgets => {
  let shared = 0;
  return {
    link: () => {
      let held = 0;
      let closed = false;
      const beyondOwn = (bytes: number): number => Math.max(0, bytes - limits.ownBytes);
      const move = (next: number): void => {
        shared += beyondOwn(next) - beyondOwn(held);
        held = next;
      };
      return {
        take: (bytes) => {
          if (closed) return undefined;
          const next = Math.max(0, held + bytes);
          if (bytes > 0) {
            if (next > limits.linkBytes) return 'link';
            if (shared + beyondOwn(next) - beyondOwn(held) > limits.sharedBytes) return 'all';
          }
          move(next);
          return undefined;
        },
        held: () => held,
        close: () => {
          closed = true;
          move(0);
        },
      };
    },
  };
};

/** Text of an amount. */
export const mebibytes = (bytes: number): string => `${Math.round((bytes / MIB) * 10) / 10} MiB`;
