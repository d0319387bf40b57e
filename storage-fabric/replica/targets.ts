import { TWINS } from '../../api/collections.ts';
import type { Links } from '../../api/link.ts';
import { HOME_PLACE } from '../../api/places.ts';
import { STORE } from '../../api/storage-collections.ts';
import type { HomeVolumes } from '../volumes/home-volumes.ts';
import type { PlaceLoss, PlaceState } from './place-loss.ts';
import { whyClosed, whyClosedAtHome, type Obstacle, type Target } from './plan-target.ts';

/** After a link came up its peer's words about its store and namespaces follow within this. */
const SETTLING_MS = 5000;

/** Places as volumes see them. */
export interface Targets {
  /** Whether a place answers, as volumes judge it: `lost` is also one that is no peer any more. */
  state(place: string): PlaceState;
  /** Another number each time that its link came back or its store was told anew. */
  readonly revision: (place: string) => number;
  /** All places, by name, as they are for the volumes of a namespace. */
  of(namespace: string): ReadonlyMap<string, Target>;
}

/** Reads them from the cache of Peers and from the links. */
export const openTargets = (home: HomeVolumes, links: Links, places: PlaceLoss): Targets => {
  const revisions = new Map<string, number>();
  const revision: Targets['revision'] = (place) => revisions.get(place) ?? 0;
  links.onLink((link) => {
    const raise = (): void => void revisions.set(link.peer, revision(link.peer) + 1);
    link.onStateChange(() => {
      if (link.isUp()) raise();
    });
    const store = link.follow(STORE);
    let told = JSON.stringify(store.get('store'));
    store.onChange(() => {
      const now = JSON.stringify(store.get('store'));
      if (now !== told) raise();
      told = now;
    });
  });
  const targetOf = (place: string, isPaused: boolean, closed: Obstacle | undefined): Target => {
    const link = links.get(place);
    const store = link?.follow(STORE).get('store');
    const state = places.state(place);
    const isSettling =
      (places.upForMs(place) ?? Infinity) < SETTLING_MS && link?.follow(STORE).isComplete() !== true;
    return {
      isUp: link?.isUp() ?? false,
      isUnsure: state === 'unsure' || isSettling,
      isLost: state === 'lost',
      isPaused,
      hasStore: store?.ready === true,
      revision: revision(place),
      message: store?.message,
      closed,
    };
  };
  return {
    state: (place) => places.state(place),
    revision,
    of: (namespace) =>
      new Map([
        [HOME_PLACE, targetOf(HOME_PLACE, false, whyClosedAtHome(namespace, home.offloadingOf(namespace)))],
        ...home.peers.list().map((peer): [string, Target] => {
          const { name } = peer.metadata;
          const twin = links.get(name)?.follow(TWINS).get(namespace);
          return [name, targetOf(name, peer.spec.paused, whyClosed(peer, namespace, twin))];
        }),
      ]),
  };
};
