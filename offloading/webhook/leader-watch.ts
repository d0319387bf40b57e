import { NAMES } from '../../api/labels.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import type { Lease } from '../../runtime/kube/types.ts';

/** Tells whether a leader lives. */
export interface LeaderWatch {
  isAlive(): boolean;
}

const DEFAULT_DURATION_SECONDS = 15;

/**
 * Judges the leader's Lease by when this process saw it renewed, on the monotonic clock, so that the leader's wall
 * clock doesn't matter; only the first sight is judged by wall time. A released Lease (no holder) is no leader.
 */
export const watchLeader = (leases: Informer<Lease>, clock: Clock): LeaderWatch => {
  let renewTime: string | undefined;
  let seenAt = Number.NEGATIVE_INFINITY;
  const durationMs = (lease: Lease): number =>
    (lease.spec?.leaseDurationSeconds ?? DEFAULT_DURATION_SECONDS) * 1000;
  const observe = (lease: Lease): void => {
    const renewed = lease.spec?.renewTime;
    if (lease.metadata.name !== NAMES.leaderLease || renewed === undefined || renewed === renewTime) return;
    const ageMs = renewTime === undefined ? clock.now().getTime() - Date.parse(renewed) : 0;
    renewTime = renewed;
    seenAt = clock.monotonicMs() - Math.max(0, ageMs);
  };
  leases.onChange((change) => {
    if (change.type !== 'deleted') observe(change.object);
  });
  return {
    isAlive: () => {
      const lease = leases.list().find((item) => item.metadata.name === NAMES.leaderLease);
      if (lease === undefined || (lease.spec?.holderIdentity ?? '') === '') return false;
      return clock.monotonicMs() - seenAt <= durationMs(lease);
    },
  };
};
