import type { FITS } from '../../api/fits-collection.ts';
import type { ItemOf } from '../../api/link.ts';
import type { PodSpec } from '../../runtime/kube/types.ts';
import type { Amounts } from './plan-fit.ts';
import { slotsOf, takeSlot, wantsOf, type Slot } from './plan-slots.ts';

/** A pod of ours that is at a peer, or on its way there. */
export interface PodAtPeer {
  readonly uid: string;
  readonly spec: PodSpec;
  readonly requests: Amounts;
  /** The peer's kubelet has taken it up. */
  readonly isStarted: boolean;
  /** The peer said that it doesn't run it (any more). */
  readonly isOver: boolean;
}

/**
 * Pods whose room the peer's answer doesn't lack yet. What was counted once stays so: when the peer names it no more, its
 * room is free again, though the pod still stands here. Adds to `seen` what is counted now.
 */
export const uncountedPods = (
  told: ItemOf<typeof FITS>,
  pods: readonly PodAtPeer[],
  seen: Set<string>,
): readonly PodAtPeer[] => {
  for (const uid of told.counted) seen.add(uid);
  return pods.filter(
    ({ uid, isOver, isStarted }) => !isOver && !seen.has(uid) && (told.countedAll || !isStarted),
  );
};

/** The slots that a peer told, without what is on its way there. Deterministic: the largest goes first. */
export const slotsLeft = (
  told: ItemOf<typeof FITS>,
  pods: readonly PodAtPeer[],
  seen: Set<string>,
): readonly Slot[] =>
  uncountedPods(told, pods, seen)
    .toSorted(
      (a, b) =>
        (b.requests['cpu'] ?? 0) - (a.requests['cpu'] ?? 0) ||
        (b.requests['memory'] ?? 0) - (a.requests['memory'] ?? 0) ||
        (a.uid < b.uid ? -1 : 1),
    )
    .reduce<readonly Slot[]>(
      (slots, { spec, requests }) => takeSlot(slots, spec, wantsOf(requests)),
      slotsOf(told.slots),
    );
