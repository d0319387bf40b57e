/**
 * What stands at home for a volume: one PersistentVolume whose annotations are the authority, and whose source is either
 * nothing (the volume is at a peer) or that of a real volume of this cluster. Pure.
 */
import { z } from 'zod';
import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import {
  placeholderName,
  PROVISIONER,
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  STORAGE_LABELS,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
import { matchesTerm } from '../../api/node-selector.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node, NodeSelectorTerm } from '../../runtime/kube/types.ts';

/** By this the controller-manager knows that another program deletes the volume. */
const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';

/** Everything of home's PersistentVolume but its source. */
export const Authority = z.object({
  annotations: z.record(z.string(), z.string()),
  size: z.string(),
  accessModes: z.array(z.string()),
  reclaimPolicy: z.string(),
  claim: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
});
export type Authority = z.infer<typeof Authority>;

/** An {@link Authority} kept while no PersistentVolume has it, and the object that had it last. */
export const SwapRecord = Authority.extend({ uid: z.string(), resourceVersion: z.string() });
export type SwapRecord = z.infer<typeof SwapRecord>;

/** The record of a swap that is under way, on home's own claim. */
export const recordOf = (homeClaim: PersistentVolumeClaim | undefined): SwapRecord | undefined => {
  const text = homeClaim?.metadata.annotations?.[STORAGE_ANNOTATIONS.swap];
  if (text === undefined) return undefined;
  try {
    return SwapRecord.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};

/** What a PersistentVolume says apart from its source; undefined when it is bound to no claim. */
export const authorityOf = ({ metadata, spec }: PersistentVolume): Authority | undefined => {
  const { namespace, name, uid } = spec.claimRef ?? {};
  if (namespace === undefined || name === undefined || uid === undefined) return undefined;
  const own = Object.values<string>(STORAGE_ANNOTATIONS).filter((key) => key !== STORAGE_ANNOTATIONS.real);
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) => own.includes(key));
  return {
    annotations: Object.fromEntries(annotations),
    size: spec.capacity?.['storage'] ?? '1Gi',
    accessModes: [...(spec.accessModes ?? ['ReadWriteOnce'])],
    reclaimPolicy: spec.persistentVolumeReclaimPolicy ?? 'Delete',
    claim: { namespace, name, uid },
  };
};

const withSource = (
  id: string,
  { annotations, size, accessModes, reclaimPolicy, claim }: Authority,
  more: Readonly<Record<string, string>>,
  source: Readonly<Record<string, unknown>>,
): PersistentVolume => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: {
    name: placeholderName(id),
    labels: { [STORAGE_LABELS.volume]: id, [LABELS.managedBy]: MANAGED_BY },
    annotations: { [PROVISIONED_BY]: PROVISIONER, ...annotations, ...more },
  },
  spec: {
    ...source,
    storageClassName: STORAGE_CLASS,
    persistentVolumeReclaimPolicy: reclaimPolicy,
    capacity: { storage: size },
    accessModes,
    volumeMode: 'Filesystem',
    claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', ...claim },
  },
});

const placeholderPath = (id: string): string => `/var/lib/fluvia-placeholder/${id}`;

/** Of a volume at a peer. No kubelet ever mounts it: the label stands on virtual nodes only. */
export const placeholderOf = (id: string, authority: Authority): PersistentVolume =>
  withSource(
    id,
    authority,
    {},
    {
      local: { path: placeholderPath(id) },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: volumeNodeLabel(id), operator: 'Exists' }] }],
        },
      },
    },
  );

const termsOf = ({ spec }: PersistentVolume): readonly NodeSelectorTerm[] => {
  const affinity = spec.nodeAffinity as
    | { readonly required?: { readonly nodeSelectorTerms?: readonly NodeSelectorTerm[] } }
    | undefined;
  return affinity?.required?.nodeSelectorTerms ?? [];
};

/** What a PersistentVolume has beside its source. */
const NO_SOURCE: ReadonlySet<string> = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

/** Of a volume at home: the source of the real one, where that may be used, while the label stands there. */
export const homeVolumeOf = (id: string, authority: Authority, real: PersistentVolume): PersistentVolume => {
  const more = [
    { key: volumeNodeLabel(id), operator: 'Exists' },
    { key: LABELS.virtualNode, operator: 'DoesNotExist' },
  ];
  const terms = termsOf(real);
  return withSource(
    id,
    authority,
    { [STORAGE_ANNOTATIONS.real]: real.metadata.name },
    {
      ...Object.fromEntries(Object.entries(real.spec).filter(([key]) => !NO_SOURCE.has(key))),
      nodeAffinity: {
        required: {
          nodeSelectorTerms: (terms.length === 0 ? [{}] : terms).map((term) => ({
            ...term,
            matchExpressions: [...(term.matchExpressions ?? []), ...more],
          })),
        },
      },
    },
  );
};

/** Whether its source is that of a real volume of this cluster. */
export const isHomeSource = (volume: PersistentVolume): boolean =>
  volume.metadata.annotations?.[STORAGE_ANNOTATIONS.real] !== undefined;

/** Home's own nodes on which a volume may be used, the moving label aside. */
export const homeNodesOf = (
  id: string,
  volume: PersistentVolume,
  nodes: readonly Node[],
): readonly Node[] => {
  const terms = termsOf(volume);
  return nodes.filter((node) => {
    const { labels = {} } = node.metadata;
    if (labels[LABELS.virtualNode] === 'true') return false;
    const labelled = { metadata: { ...node.metadata, labels: { ...labels, [volumeNodeLabel(id)]: 'true' } } };
    return terms.length === 0 || terms.some((term) => matchesTerm(term, labelled));
  });
};

/** Whether home's claim for a volume is ours: it names the claim that it stands behind, and the volume. */
export const isOwnClaim = (id: string, { metadata }: PersistentVolumeClaim): boolean =>
  metadata.labels?.[LABELS.managedBy] === MANAGED_BY &&
  metadata.labels[STORAGE_LABELS.volume] === id &&
  metadata.annotations?.[STORAGE_ANNOTATIONS.claim] !== undefined;

/** Whether a PersistentVolume is the one that our claim is bound to, both ways. */
export const isRealOf = (homeClaim: PersistentVolumeClaim, real: PersistentVolume): boolean =>
  homeClaim.status?.phase === 'Bound' &&
  homeClaim.spec.volumeName === real.metadata.name &&
  homeClaim.metadata.uid !== undefined &&
  real.spec.claimRef?.uid === homeClaim.metadata.uid;

/** Whether a real volume outlives its claim, so that no slip of ours or of others takes the data. */
export const isKept = ({ metadata, spec }: PersistentVolume): boolean =>
  spec.persistentVolumeReclaimPolicy === 'Retain' &&
  metadata.annotations?.[STORAGE_ANNOTATIONS.reclaimPolicy] !== undefined;
