/** What home and a place say to each other of one volume. */
import type { ItemOf } from '../../api/link.ts';
import type { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';

export type VolumeItem = ItemOf<typeof VOLUMES>;
export type VolumeStatusItem = ItemOf<typeof VOLUME_STATUS>;

/** Reason in the status of home's own claim: its provisioner wants another node. */
export const NODE_REFUSED = 'NodeRefused';

/** Reason in the status of a volume that was there, and is gone with all it held. */
export const LOST = 'Lost';

/** Whether what a peer says of the volume means that its data is gone. */
export const isLostData = (told: VolumeStatusItem | undefined): boolean =>
  told?.phase === 'Failed' && told.reason === LOST;
