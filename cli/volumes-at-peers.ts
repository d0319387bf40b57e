/** Claims of this cluster whose data is at peers, and so would go with what is closed or given up there. */
import { HOME_PLACE } from '../api/places.ts';
import { STORAGE_ANNOTATIONS, STORAGE_LABELS } from '../api/storage-names.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM } from '../runtime/kube/resources.ts';
import type { PersistentVolume } from '../runtime/kube/storage-types.ts';

const locationOf = ({ metadata }: PersistentVolume): string | undefined =>
  metadata.annotations?.[STORAGE_ANNOTATIONS.location];

const claimsOf = async (
  client: KubeClient,
  isMeant: (volume: PersistentVolume) => boolean,
): Promise<readonly string[]> => {
  const { items } = await client.list<PersistentVolume>(PERSISTENT_VOLUME, {
    labelSelector: STORAGE_LABELS.volume,
  });
  const claims = await Promise.all(
    items.filter(isMeant).map(async ({ spec }) => {
      const { namespace = '', name = '' } = spec.claimRef ?? {};
      const claim = await client.get(PERSISTENT_VOLUME_CLAIM, name, namespace);
      return claim === undefined ? [] : [`${namespace}/${name}`];
    }),
  );
  return claims.flat().toSorted();
};

/** Those at one peer, as `namespace/name`. */
export const volumesAt = (client: KubeClient, peer: string): Promise<readonly string[]> =>
  claimsOf(client, (volume) => locationOf(volume) === peer);

/** Those of a namespace at any peer, as `namespace/name`. */
export const volumesAway = (client: KubeClient, namespace: string): Promise<readonly string[]> =>
  claimsOf(
    client,
    (volume) =>
      volume.spec.claimRef?.namespace === namespace && (locationOf(volume) ?? HOME_PLACE) !== HOME_PLACE,
  );
