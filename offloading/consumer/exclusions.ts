import type { Clock } from '../../runtime/clock.ts';
import type { Pod } from '../../runtime/kube/types.ts';

/** Peers that refused pods of an owner lately: not tried again for a while. Kept in memory; a new leader may try once. */
export interface Exclusions {
  /** `forMs`: by default 5 minutes. */
  exclude(pod: Pod, peer: string, reason: string, forMs?: number): void;
  /** Peer → why. */
  of(pod: Pod): ReadonlyMap<string, string>;
}

const EXCLUDED_MS = 300_000;
const MAX_OWNERS = 10_000;

/** What pods that are alike have in common: their controlling owner, or their namespace for bare pods. */
export const groupOf = (pod: Pod): string =>
  pod.metadata.ownerReferences?.find((owner) => owner.controller === true)?.uid ??
  `namespace/${pod.metadata.namespace ?? ''}`;

/** Makes an empty list. */
export const createExclusions = (clock: Clock): Exclusions => {
  const groups = new Map<string, Map<string, { readonly reason: string; readonly until: number }>>();
  return {
    exclude: (pod, peer, reason, forMs = EXCLUDED_MS) => {
      const group = groupOf(pod);
      const entries = groups.get(group) ?? new Map<string, { reason: string; until: number }>();
      entries.set(peer, {
        reason: `it refused: ${reason}`.slice(0, 300),
        until: clock.monotonicMs() + forMs,
      });
      groups.delete(group);
      groups.set(group, entries);
      const oldest = groups.keys().next();
      if (groups.size > MAX_OWNERS && oldest.done !== true) groups.delete(oldest.value);
    },
    of: (pod) => {
      const entries = groups.get(groupOf(pod));
      if (entries === undefined) return new Map();
      const now = clock.monotonicMs();
      for (const [peer, { until }] of entries) if (until <= now) entries.delete(peer);
      return new Map([...entries].map(([peer, { reason }]) => [peer, reason]));
    },
  };
};
