/** The agent as an enforcer of the fence: its own asks with its own boot times, and what home answered to them. */
import { hearAnswer, isLeased, leasesLeft, noLease, noteAsk, type LeaseState } from '../../api/fence.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { BootClock } from '../../runtime/boot-clock.ts';

export interface NodeFence {
  /** Takes what the leader wrote into this node's FabricNode. */
  hear(node: FabricNode | undefined): void;
  /** Makes a new ask if one is due; true when {@link NodeFence.ask} must be written now. */
  askIfDue(): boolean;
  /** The newest ask, for the status; undefined while nothing was ever asked. */
  ask(): number | undefined;
  isLeased(clusterID: string, uid: string): boolean;
  /** Cluster → UID → milliseconds left. */
  left(): Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** An agent begins without a lease. */
export const createNodeFence = (bootMs: BootClock): NodeFence => {
  const leases = new Map<string, LeaseState>();
  // The notes are the same for all homes: one number is answered by each of them.
  let asks: LeaseState | undefined;
  let askedAt = -Infinity;
  let everyMs: number | undefined;
  return {
    hear: (node) => {
      if (node === undefined) return;
      asks ??= noLease(node.status?.fenceAsk ?? 0);
      const fences = node.spec.fence ?? [];
      everyMs =
        fences.length === 0
          ? undefined
          : Math.max(500, Math.min(...fences.map(({ leaseSeconds }) => leaseSeconds)) * 250);
      const told = new Set(fences.map(({ clusterID }) => clusterID));
      for (const clusterID of leases.keys()) if (!told.has(clusterID)) leases.delete(clusterID);
      for (const { clusterID, ask, leaseSeconds, pods } of fences) {
        const before = leases.get(clusterID) ?? noLease(0);
        leases.set(clusterID, hearAnswer({ ...before, notes: asks.notes }, { ask, leaseSeconds, pods }));
      }
    },
    askIfDue: () => {
      const now = bootMs();
      if (everyMs === undefined || asks === undefined || now - askedAt < everyMs) return false;
      askedAt = now;
      asks = noteAsk(asks, now);
      return true;
    },
    ask: () => (asks === undefined || asks.ask === 0 ? undefined : asks.ask),
    isLeased: (clusterID, uid) => {
      const state = leases.get(clusterID);
      return state !== undefined && isLeased(state, uid, bootMs());
    },
    left: () => {
      const now = bootMs();
      return Object.fromEntries(
        [...leases].map(([id, state]) => [id, Object.fromEntries(leasesLeft(state, now))]),
      );
    },
  };
};
