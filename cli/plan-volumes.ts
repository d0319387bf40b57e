/** What people see of volumes of class fluvia: where each is, the copies of it, what is wrong. Pure. */
import { atPlace, placeText } from '../api/places.ts';
import { completePoints } from '../api/recovery-points.ts';
import { STORAGE_ANNOTATIONS, STORAGE_CLASS, VOLUME_CONDITION } from '../api/storage-names.ts';
import type { VolumeReplica } from '../api/v1alpha1/volume-replica.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../runtime/kube/storage-types.ts';
import { moveNoteOf } from '../storage-fabric/replica/move-note.ts';
import { formatAge } from './output/age.ts';
import type { Health } from './plan-info.ts';

/** A claim of class fluvia with what stands behind it. */
export interface VolumeInfo {
  /** `namespace/name`. */
  readonly claim: string;
  /** Peer where it is; missing before its first pod. */
  readonly location?: string;
  readonly size?: string;
  readonly ready: Health;
  readonly moving?: { readonly from: string; readonly to: string; readonly stage: string };
  /** The newest complete copy at each peer. */
  readonly copies: readonly {
    readonly peer: string;
    readonly cutAt: string;
    readonly consistency: string;
  }[];
  readonly replicas: readonly {
    readonly name: string;
    readonly ready: Health;
    readonly lastError?: string;
  }[];
}

/** Words for what passes by itself: no reason to call a cluster degraded. */
const PASSING = new Set(['Pending', 'Moving', 'PlacedAnew', 'Copying', 'Paused']);

const readyOf = (
  condition:
    | { readonly status: string; readonly reason?: string | undefined; readonly message?: string | undefined }
    | undefined,
  without: string,
): Health => ({
  ok: condition === undefined || condition.status === 'True' || PASSING.has(condition.reason ?? ''),
  message: condition?.message ?? without,
});

const copiesOf = (replicas: readonly VolumeReplica[]): VolumeInfo['copies'] => {
  const points = completePoints(replicas.flatMap(({ status }) => status?.points ?? []));
  return [...Map.groupBy(points, ({ peer }) => peer).values()].flatMap(([newest]) =>
    newest === undefined ? [] : [{ peer: newest.peer, cutAt: newest.cutAt, consistency: newest.consistency }],
  );
};

/** All claims of class fluvia, by namespace and name. */
export const planVolumes = (
  claims: readonly PersistentVolumeClaim[],
  volumes: readonly PersistentVolume[],
  replicas: readonly VolumeReplica[],
): readonly VolumeInfo[] =>
  claims
    .filter(({ spec }) => spec.storageClassName === STORAGE_CLASS)
    .map((claim): VolumeInfo => {
      const { namespace = '', name } = claim.metadata;
      const volume = volumes.find(({ metadata }) => metadata.name === claim.spec.volumeName);
      const location = volume?.metadata.annotations?.[STORAGE_ANNOTATIONS.location];
      const size = volume?.spec.capacity?.['storage'];
      const note = volume === undefined ? undefined : moveNoteOf(volume);
      const own = replicas.filter(
        ({ metadata, spec }) => metadata.namespace === namespace && spec.claimName === name,
      );
      const condition = claim.status?.conditions?.find(({ type }) => type === VOLUME_CONDITION);
      const ready = readyOf(condition, 'it is made with the first pod that uses it');
      return {
        claim: `${namespace}/${name}`,
        ...(location === undefined ? {} : { location }),
        ...(size === undefined ? {} : { size }),
        // One that fails does not pass by itself.
        ready: note !== undefined && note.failures > 0 ? { ...ready, ok: false } : ready,
        ...(note === undefined ? {} : { moving: { from: note.from, to: note.to, stage: note.stage } }),
        copies: copiesOf(own),
        replicas: own.map(({ metadata, status }) => ({
          name: metadata.name,
          ready: readyOf(
            status?.conditions?.find(({ type }) => type === 'Ready'),
            'nothing is said of it yet',
          ),
          ...(status?.lastError === undefined ? {} : { lastError: status.lastError }),
        })),
      };
    })
    .toSorted((a, b) => (a.claim < b.claim ? -1 : 1));

/** Where a volume is and its copies, in one line. */
export const volumeLine = (volume: VolumeInfo, nowMs: number): string => {
  const { location, size, moving, copies } = volume;
  const where =
    moving === undefined
      ? location === undefined
        ? 'nowhere yet'
        : `${atPlace(location)}${size === undefined ? '' : `, ${size}`}`
      : `moving from ${placeText(moving.from)} to ${placeText(moving.to)} (${moving.stage})`;
  const kept = copies
    .map(({ peer, cutAt, consistency }) => `${peer} ${formatAge(cutAt, nowMs)} old (${consistency})`)
    .join(', ');
  return `${where}; ${kept === '' ? 'no copies' : `copies: ${kept}`}`;
};

/** What isn't as it should be of a volume and its copies, with where. */
export const volumeProblems = ({ claim, ready, replicas }: VolumeInfo): readonly string[] => [
  ...(ready.ok ? [] : [`volume ${claim}: ${ready.message}`]),
  ...replicas
    .filter((replica) => !replica.ready.ok)
    .map((replica) => `copies of ${claim} (VolumeReplica ${replica.name}): ${replica.ready.message}`),
];
