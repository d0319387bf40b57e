/** What this cluster's leader holds of its consumers' leases, in memory: a new leader begins without. */
import { adoptLeases, hearAnswer, isLeased, noLease, noteAsk, type LeaseState } from '../../api/fence.ts';
import type { FenceAnswer } from '../../api/fence-collections.ts';
import type { BootClock } from '../../runtime/boot-clock.ts';

/** Name of the leader among the enforcers. */
export const CONTROLLER = 'controller';

/**
 * `open`: the pod may run. `closed`: it must not. `unknown`: this leader has just begun and still asks the agents what its
 * predecessor held: nothing is started and nothing stopped.
 */
export type Fence = 'open' | 'closed' | 'unknown';

export interface FenceLeases {
  /** Whether the pod with this UID at home may run. */
  of(clusterID: string, uid: string): Fence;
  /** Notes an ask now, and returns its number, to be sent afterwards. */
  ask(clusterID: string): number;
  hear(clusterID: string, answer: FenceAnswer): void;
  /** Takes over what an agent of this cluster holds. */
  adopt(clusterID: string, sentAtMs: number, leftMs: ReadonlyMap<string, number>): void;
  /** From now on what isn't known is closed, of these pods (by cluster) as of all others. */
  begin(pods: ReadonlyMap<string, ReadonlySet<string>>): void;
  /** Called with the cluster when some of its pods may now be judged otherwise; also by {@link FenceLeases.expire}. */
  onChange(listener: (clusterID: string, uids: ReadonlySet<string>) => void): () => void;
  /** Tells of leases that ended since the last call. */
  expire(): void;
}

/** Asks of different leaders never have the same number. */
const ASKS_PER_TERM = 2 ** 24;

/** Makes an empty store. */
export const createFenceLeases = (bootMs: BootClock, leaderTransitions: number): FenceLeases => {
  const states = new Map<string, LeaseState>();
  const live = new Map<string, Set<string>>();
  const listeners = new Set<(clusterID: string, uids: ReadonlySet<string>) => void>();
  let isBegun = false;
  const stateOf = (clusterID: string): LeaseState =>
    states.get(clusterID) ?? noLease((leaderTransitions % 2 ** 28) * ASKS_PER_TERM);
  /** Compares who was live with who is, and tells. */
  const tell = (clusterID: string): void => {
    const state = stateOf(clusterID);
    const now = bootMs();
    const before = live.get(clusterID) ?? new Set<string>();
    const after = new Set([...state.until.keys()].filter((uid) => isLeased(state, uid, now)));
    const changed = before.symmetricDifference(after);
    live.set(clusterID, after);
    if (changed.size > 0) for (const listener of listeners) listener(clusterID, changed);
  };
  return {
    of: (clusterID, uid) => {
      if (isLeased(stateOf(clusterID), uid, bootMs())) return 'open';
      return isBegun ? 'closed' : 'unknown';
    },
    ask: (clusterID) => {
      const next = noteAsk(stateOf(clusterID), bootMs());
      states.set(clusterID, next);
      return next.ask;
    },
    hear: (clusterID, { asks, leaseSeconds, pods }) => {
      const ask = asks[CONTROLLER];
      if (ask === undefined) return;
      states.set(clusterID, hearAnswer(stateOf(clusterID), { ask, leaseSeconds, pods }));
      tell(clusterID);
    },
    adopt: (clusterID, sentAtMs, leftMs) => {
      states.set(clusterID, adoptLeases(stateOf(clusterID), sentAtMs, leftMs));
      tell(clusterID);
    },
    begin: (pods) => {
      isBegun = true;
      for (const [clusterID, uids] of pods) for (const listener of listeners) listener(clusterID, uids);
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    expire: () => {
      for (const clusterID of states.keys()) tell(clusterID);
    },
  };
};
