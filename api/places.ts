/** Name of the place that is this cluster; no Peer can be called so, since it isn't a DNS label. */
export const HOME_PLACE = '@home';

/** A place for people to read. A Peer can be called `home`, so this cluster isn't. */
export const placeText = (place: string): string => (place === HOME_PLACE ? 'this cluster' : place);

/** Where something is, for people to read. */
export const atPlace = (place: string): string => (place === HOME_PLACE ? 'in this cluster' : `at ${place}`);

/** In the wish where a volume is to be moved: it is to stay where it was, and the move under way to end. No name of a cluster. */
export const MOVE_ABORT = '@abort';
