import { controllerOf } from '../../api/owners.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Pod } from '../../runtime/kube/types.ts';

/** Reason of a peer that accepted a pod and then had no node for it. */
export const NO_NODE = 'NoNodeAtPeer';

/** Peers that refused pods of an owner lately: not tried again for a while. Kept in memory; a new leader may try once. */
export interface Exclusions {
  /** `reason` is the peer's word for programs, `message` for people. Nothing for a bare pod: nobody makes it again. */
  exclude(pod: Pod, peer: string, reason: string, message: string): void;
  /** Peer → why. */
  of(pod: Pod): ReadonlyMap<string, string>;
}

const EXCLUDED_MS = 300_000;
/** Room comes and goes: soon the peer's own word of what is free holds again. By reason. */
const SHORT_MS: Readonly<Record<string, number>> = { QuotaExceeded: 10_000, [NO_NODE]: 30_000 };
const MAX_OWNERS = 10_000;

/** What pods that are alike have in common: their controlling owner, or their namespace for bare pods. */
export const groupOf = (pod: Pod): string =>
  controllerOf(pod)?.uid ?? `namespace/${pod.metadata.namespace ?? ''}`;

/** Makes an empty list. */
export const createExclusions = (clock: Clock): Exclusions => {
  const groups = new Map<string, Map<string, { readonly reason: string; readonly until: number }>>();
  return {
    exclude: (pod, peer, reason, message) => {
      if (controllerOf(pod) === undefined) return;
      const group = groupOf(pod);
      const entries = groups.get(group) ?? new Map<string, { reason: string; until: number }>();
      entries.set(peer, {
        reason: `it refused: ${message}`.slice(0, 300),
        until: clock.monotonicMs() + (SHORT_MS[reason] ?? EXCLUDED_MS),
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
