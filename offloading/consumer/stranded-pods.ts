import { SHADOW_STATUS } from '../../api/collections.ts';
import type { ItemOf, Links } from '../../api/link.ts';
import { controllerOf } from '../../api/owners.ts';
import type { Clock } from '../../runtime/clock.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import { NO_NODE } from './exclusions.ts';
import type { Home } from './home.ts';

/** A pod that its peer accepted, and that it then can't run after all: it has no node for it, or can't make its volume. */
export interface StrandedPod {
  readonly pod: Pod;
  readonly peer: string;
  /** For programs. */
  readonly reason: string;
  /** What the peer says. */
  readonly message: string;
}

export interface StrandedPods {
  /** Those that have been so for long enough, and whose owner makes them again. */
  list(): readonly StrandedPod[];
}

/** A peer that makes room (an autoscaler, an eviction) has so long for it. */
export const STRANDED_MS = 10_000;

interface Told {
  readonly type?: unknown;
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly message?: unknown;
}

const unschedulable = (item: ItemOf<typeof SHADOW_STATUS> | undefined): string | undefined => {
  if (item?.state !== 'accepted') return undefined;
  const conditions = item.status?.['conditions'];
  if (!Array.isArray(conditions)) return undefined;
  const found = (conditions as readonly (Told | null)[]).find(
    (c) => c?.type === 'PodScheduled' && c.status === 'False' && c.reason === 'Unschedulable',
  );
  if (found === undefined || found === null) return undefined;
  return typeof found.message === 'string' ? found.message.slice(0, 200) : 'no node takes it';
};

/** Watches what peers say; `onNews` is called when a pod has been without a node for long enough. */
export const watchStranded = (links: Links, home: Home, clock: Clock, onNews: () => void): StrandedPods => {
  /** By UID: since when, monotonic. */
  const since = new Map<string, number>();
  links.onLink((link) => {
    const subscriber = link.follow(SHADOW_STATUS);
    subscriber.onChange((id) => {
      const item = id === undefined ? undefined : subscriber.get(id);
      if (item === undefined) return;
      if (unschedulable(item) === undefined) since.delete(item.uid);
      else if (!since.has(item.uid)) {
        since.set(item.uid, clock.monotonicMs());
        clock.after(STRANDED_MS, onNews);
      }
    });
  });
  const judge = (pod: Pod): readonly StrandedPod[] => {
    const uid = pod.metadata.uid ?? '';
    const begun = since.get(uid);
    const peer = home.virtualNodeOf(pod)?.spec.peer;
    if (begun === undefined || peer === undefined) return [];
    const told = links.get(peer)?.follow(SHADOW_STATUS).get(keyOf(pod));
    const message = told?.uid === uid ? unschedulable(told) : undefined;
    if (
      message === undefined ||
      controllerOf(pod) === undefined ||
      pod.metadata.deletionTimestamp !== undefined
    )
      return [];
    return clock.monotonicMs() - begun < STRANDED_MS ? [] : [{ pod, peer, reason: NO_NODE, message }];
  };
  return {
    list: () => {
      if (since.size === 0) return [];
      const pods = home.pods.list();
      const existing = new Set(pods.map((pod) => pod.metadata.uid));
      for (const uid of since.keys()) if (!existing.has(uid)) since.delete(uid);
      return pods.flatMap(judge);
    },
  };
};
