/** What this cluster says of its store, from the pods that run its front. Pure. */
import type { ItemOf } from '../../api/link.ts';
import type { STORE } from '../../api/storage-collections.ts';

/** A pod of the front, as far as it matters. */
export interface FrontPod {
  readonly name: string;
  readonly address?: string;
  readonly isReady: boolean;
  readonly isGoing: boolean;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** The pod that stands for the store: a ready one, else the newest with an address, else the newest. */
export const chooseFront = (pods: readonly FrontPod[]): FrontPod | undefined => {
  const rank = (pod: FrontPod): number =>
    (pod.isGoing ? 0 : 4) + (pod.isReady ? 2 : 0) + (pod.address === undefined ? 0 : 1);
  return pods.toSorted(
    (a, b) => rank(b) - rank(a) || b.createdAt.localeCompare(a.createdAt) || a.name.localeCompare(b.name),
  )[0];
};

/** The item of STORE; undefined while there is nothing that could be reached. */
export const planStoreItem = (
  pod: FrontPod | undefined,
  fixed: { readonly port: number; readonly caCertificate: string; readonly serverName: string },
  trouble: string | undefined,
): ItemOf<typeof STORE> | undefined => {
  if (pod?.address === undefined || pod.isGoing) return undefined;
  const message = pod.isReady ? undefined : (trouble ?? 'the store is starting').slice(0, 1024);
  return {
    address: pod.address,
    ...fixed,
    ready: pod.isReady,
    ...(message === undefined ? {} : { message }),
  };
};
