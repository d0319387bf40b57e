/** Places as people name them: this cluster goes by its own name, unless a peer has that name. */
import { HOME_PLACE } from '../../api/places.ts';
import type { VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';

type Status = NonNullable<VolumeReplica['status']>;

export interface PlaceNames {
  /** Of what people wrote. */
  placeOf(name: string): string;
  /** A text for people, in which places go by their names. */
  inWords(text: string): string;
  /** A VolumeReplica with places for names. */
  inPlaces(replica: VolumeReplica): VolumeReplica;
  /** A status with names for places. */
  inNames(status: Status): Status;
}

/** `isPeer`: whether there is a Peer of this name. */
export const createPlaceNames = (clusterName: string, isPeer: (name: string) => boolean): PlaceNames => {
  const placeOf = (name: string): string => (name === clusterName && !isPeer(name) ? HOME_PLACE : name);
  const nameOf = (place: string): string => (place === HOME_PLACE ? clusterName : place);
  const inWords = (text: string): string => text.replaceAll(HOME_PLACE, clusterName);
  const renamed = ({ location, points, ...rest }: Status, change: (name: string) => string): Status => ({
    ...rest,
    ...(location === undefined ? {} : { location: change(location) }),
    ...(points === undefined
      ? {}
      : { points: points.map((point) => ({ ...point, peer: change(point.peer) })) }),
  });
  return {
    placeOf,
    inWords,
    inPlaces: ({ status, ...replica }) => {
      const spec = { ...replica.spec, peers: replica.spec.peers.map(placeOf) };
      return status === undefined
        ? { ...replica, spec }
        : { ...replica, spec, status: renamed(status, placeOf) };
    },
    inNames: (status) => {
      const { lastError, conditions, ...rest } = renamed(status, nameOf);
      return {
        ...rest,
        ...(lastError === undefined ? {} : { lastError: inWords(lastError) }),
        ...(conditions === undefined
          ? {}
          : { conditions: conditions.map((one) => ({ ...one, message: inWords(one.message) })) }),
      };
    },
  };
};
