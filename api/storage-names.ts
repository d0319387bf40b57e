/** Names that the storage fabric and offloading share: how a volume is seen on claims, placeholders and nodes. */

/** The virtual StorageClass, and the provisioner that it names. */
export const STORAGE_CLASS = 'fluvia';
export const PROVISIONER = 'fluvia.dev/volume';

export const STORAGE_LABELS = {
  /** On home's placeholder PV and on the provider's PVC: the volume's ID. */
  volume: 'fluvia.dev/volume',
  /** On mover Jobs, their pods and Secrets: the transfer's ID as a label value. */
  transfer: 'fluvia.dev/transfer',
} as const;

export const STORAGE_ANNOTATIONS = {
  /** On the placeholder: the volume's epoch. The authority; raised by compare-and-swap only. */
  epoch: 'fluvia.dev/epoch',
  /** On the placeholder: the peer where the volume is, or `@home`. The authority. */
  location: 'fluvia.dev/location',
  /** On the placeholder: `true` once the real volume was there, so that it is never made anew. */
  made: 'fluvia.dev/made',
  /** On the placeholder of a volume that was never made: the places that could not, as JSON (`unmade-volume.ts`). */
  refused: 'fluvia.dev/refused',
  /** On the placeholder of a volume that was never made: where it is to be made instead, once it is nowhere else. */
  anew: 'fluvia.dev/anew',
  /** On the placeholder: comma-separated peers that keep an older copy of it, used by nothing. */
  retained: 'fluvia.dev/retained',
  /** On the placeholder: comma-separated peers whose older copy has a tail that no other has: they were lost. */
  diverged: 'fluvia.dev/diverged',
  /** On the placeholder: the move under way, as JSON (see `storage-fabric/replica/plan-move.ts`). */
  move: 'fluvia.dev/move',
  /** On the placeholder: how far the step under way is, as JSON `{stage, done, total}` in bytes. */
  moveProgress: 'fluvia.dev/move-progress',
  /** On the placeholder: how the last move ended, as JSON. */
  lastMove: 'fluvia.dev/last-move',
  /** On the placeholder: copies have been given sequences up to this; raised by blocks. Survives the VolumeReplica. */
  sequence: 'fluvia.dev/sequence',
  /** On home's claim, by people: the place to which the volume is to be moved, or `@abort`: it is to stay where it was. */
  moveTo: 'fluvia.dev/move-to',
  /** On the placeholder while its peer is lost: what that means for the volume, in words. */
  loss: 'fluvia.dev/loss',
  /** On the provider's claim: `active`, `restoring` or `retained`; pods may use only an active one. */
  state: 'fluvia.dev/volume-state',
  /** On home's own claim in `fluvia-volumes`: namespace and name of the claim that it stands behind. */
  claim: 'fluvia.dev/claim',
  /** On home's own claim: the node for which its volume is to be made; a provisioner takes its own note of it away. */
  node: 'fluvia.dev/node',
  /** On the placeholder of a volume at home: name of the real PersistentVolume whose source it has. */
  real: 'fluvia.dev/real-volume',
  /** On a real PersistentVolume that backs one of ours: what its reclaim policy was; it is `Retain` meanwhile. */
  reclaimPolicy: 'fluvia.dev/reclaim-policy',
  /** On home's own claim: all that the placeholder said, while it is being made anew with another source, as JSON. */
  swap: 'fluvia.dev/swap',
  /** On home's claim: UID of the PersistentVolume that it was told to look at again. */
  rebound: 'fluvia.dev/rebound',
  /** On a mover Job: the cluster that asked for it, and its transfer ID. */
  transferID: 'fluvia.dev/transfer-id',
} as const;

/** Type of the condition on a claim that says where its volume is. */
export const VOLUME_CONDITION = 'fluvia.dev/Volume';

/** Label of the nodes where the volume may be used, virtual or home's own; it moves with the volume. */
export const volumeNodeLabel = (volume: string): string => `fluvia.dev/volume-${volume}`;

/** Name of home's placeholder PersistentVolume. */
export const placeholderName = (volume: string): string => `fluvia-${volume}`;
