/** Pods whose volume was never made where it was to be: they, and with them the volume, are placed anew. */
import { controllerOf } from '../../api/owners.ts';
import { HOME_PLACE } from '../../api/places.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import { anewOf, isMade, liveRefusals, refusalsOf, SELECTED_NODE } from '../../api/unmade-volume.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { PERSISTENT_VOLUME_CLAIM } from '../../runtime/kube/resources.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { FIELD_MANAGER, isGated, type Home } from './home.ts';
import { claimNames } from './plan-claims.ts';
import { takesRoom } from './plan-fit.ts';
import { planWishes } from './plan-wishes.ts';
import type { Ranked } from './plan-placement.ts';
import type { StrandedPod } from './stranded-pods.ts';

/** Reason of the event of a pod that is made again for it. */
const NOT_MADE = 'VolumeNotMade';

/** A claim whose volume the place where it was to be could not make. */
export interface RefusedClaim {
  readonly namespace: string;
  readonly name: string;
  /** What the place said. */
  readonly message: string;
}

/** A pod for which nothing fits as its volumes are, and would if those that were never made were made elsewhere. */
export interface HomelessPod {
  readonly pod: Pod;
  /** Claims of the volumes that were never made. */
  readonly claims: readonly string[];
  readonly ranked: readonly Ranked[];
}

export interface UnmadeVolumes {
  refused(): readonly RefusedClaim[];
  /** Pods that wait at a peer for such a volume, and that are made again when they go. */
  waiting(refused: readonly RefusedClaim[]): readonly StrandedPod[];
  /**
   * Says on claims where their volumes are wanted. `sent`: pods that go in the same pass. Returns the UIDs of the pods for which
   * something was written.
   */
  want(pods: readonly HomelessPod[], sent: readonly Pod[]): Promise<ReadonlySet<string>>;
}

const refusalOf = ({ metadata }: PersistentVolume, now: number): string | undefined => {
  const { annotations } = metadata;
  // On its way elsewhere it needs nobody's help any more.
  if (isMade(annotations) || anewOf(annotations) !== undefined) return undefined;
  const location = annotations?.[STORAGE_ANNOTATIONS.location] ?? '';
  return liveRefusals(refusalsOf(annotations), now)[location]?.message;
};

const claimsOf = ({ spec }: Pod): readonly string[] => claimNames(spec);

/** Reads home's caches; writes claims only. */
export const openUnmadeVolumes = (
  { client, clock }: ControllerDeps,
  home: Home,
  signal: AbortSignal,
): UnmadeVolumes => {
  const placeOf = (node: string | undefined): string | undefined =>
    node === undefined ? undefined : (home.virtualNodes.get(undefined, node)?.spec.peer ?? HOME_PLACE);
  const wishOf = (namespace: string, claim: string): string | undefined =>
    home.volumeClaims.get(namespace, claim)?.metadata.annotations?.[SELECTED_NODE];

  const write = async (namespace: string, claim: string, node: string): Promise<void> => {
    const uid = home.volumeClaims.get(namespace, claim)?.metadata.uid;
    const body = { metadata: { uid, annotations: { [SELECTED_NODE]: node } } };
    await client
      .patch(PERSISTENT_VOLUME_CLAIM, claim, namespace, body, {
        type: 'merge',
        fieldManager: FIELD_MANAGER,
        signal,
      })
      .catch((error: unknown) => {
        if (!isConflict(error) && !isNotFound(error)) throw error;
      });
  };

  return {
    refused: () => {
      const now = clock.now().getTime();
      return home.volumes.list().flatMap((volume) => {
        const message = refusalOf(volume, now);
        const { namespace, name } = volume.spec.claimRef ?? {};
        return message === undefined || namespace === undefined || name === undefined
          ? []
          : [{ namespace, name, message }];
      });
    },
    waiting: (refused) =>
      [...Map.groupBy(refused, ({ namespace }) => namespace)].flatMap(([namespace, claims]) => {
        const messages = new Map(claims.map(({ name, message }) => [name, message]));
        const there = home
          .podsIn(namespace)
          .filter((pod) => takesRoom(pod) && home.virtualNodeOf(pod) !== undefined);
        // One that nobody makes again holds its volumes there, and the other pods with them.
        const held = new Set(there.filter((pod) => controllerOf(pod) === undefined).flatMap(claimsOf));
        return there.flatMap((pod): StrandedPod[] => {
          const peer = home.virtualNodeOf(pod)?.spec.peer;
          const claim = claimsOf(pod).find((name) => messages.has(name));
          if (peer === undefined || claim === undefined || pod.metadata.deletionTimestamp !== undefined)
            return [];
          if (held.has(claim)) return [];
          const message = `the volume of claim ${claim}: ${messages.get(claim) ?? ''}`;
          return [{ pod, peer, reason: NOT_MADE, message }];
        });
      }),
    want: async (pods, sent) => {
      const written = new Set<string>();
      const sentUids = new Set(sent.map(({ metadata }) => metadata.uid));
      for (const [namespace, some] of Map.groupBy(pods, ({ pod }) => pod.metadata.namespace ?? '')) {
        const held = home
          .podsIn(namespace)
          .filter((pod) => takesRoom(pod) && (!isGated(pod) || sentUids.has(pod.metadata.uid)))
          .flatMap(claimsOf);
        const wishes = planWishes(
          some.map(({ pod, claims, ranked }) => ({
            pod: pod.metadata.uid ?? '',
            claims: claims.map((name) => ({ name, wanted: placeOf(wishOf(namespace, name)) })),
            ranked,
          })),
          new Set(held),
        );
        for (const { pod, claim, node } of wishes) {
          await write(namespace, claim, node);
          written.add(pod);
        }
      }
      return written;
    },
  };
};
