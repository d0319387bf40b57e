/** Claims of this cluster whose data is at peers, and so would go with what is closed or given up there. */
import { HOME_PLACE } from '../api/places.ts';
import { STORAGE_LABELS } from '../api/storage-names.ts';
import { isHeldAt, volumePlacesOf, type VolumePlaces } from '../api/volume-places.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM } from '../runtime/kube/resources.ts';
import type { PersistentVolume } from '../runtime/kube/storage-types.ts';

/** As `namespace/name`. */
export interface VolumesThere {
  /** All of their data is there, or on its way there. */
  readonly whole: readonly string[];
  /** Only what was written there last, before it was lost: they are elsewhere now. */
  readonly tails: readonly string[];
}

interface Placed {
  readonly namespace: string;
  readonly claim: string;
  readonly places: VolumePlaces;
}

const placed = async (client: KubeClient): Promise<readonly Placed[]> => {
  const { items } = await client.list<PersistentVolume>(PERSISTENT_VOLUME, {
    labelSelector: STORAGE_LABELS.volume,
  });
  const all = await Promise.all(
    items.map(async ({ metadata, spec }): Promise<readonly Placed[]> => {
      const { namespace = '', name = '' } = spec.claimRef ?? {};
      const claim = await client.get(PERSISTENT_VOLUME_CLAIM, name, namespace);
      return claim === undefined
        ? []
        : [{ namespace, claim: `${namespace}/${name}`, places: volumePlacesOf(metadata.annotations) }];
    }),
  );
  return all.flat();
};

const those = (volumes: readonly Placed[], isMeant: (places: VolumePlaces) => boolean): readonly string[] =>
  volumes.flatMap(({ claim, places }) => (isMeant(places) ? [claim] : [])).toSorted();

/** Those at one peer. */
export const volumesAt = async (client: KubeClient, peer: string): Promise<VolumesThere> => {
  const volumes = await placed(client);
  return {
    whole: those(volumes, (places) => isHeldAt(places, peer)),
    tails: those(volumes, (places) => !isHeldAt(places, peer) && places.tails.includes(peer)),
  };
};

/** Those of a namespace at any peer. */
export const volumesAway = async (client: KubeClient, namespace: string): Promise<VolumesThere> => {
  const volumes = (await placed(client)).filter((one) => one.namespace === namespace);
  const isAway = ({ location, target }: VolumePlaces): boolean =>
    (location ?? HOME_PLACE) !== HOME_PLACE || (target ?? HOME_PLACE) !== HOME_PLACE;
  return {
    whole: those(volumes, isAway),
    tails: those(volumes, (places) => !isAway(places) && places.tails.some((place) => place !== HOME_PLACE)),
  };
};
