import { TWINS } from '../../api/collections.ts';
import type { Links } from '../../api/link.ts';
import { STORE } from '../../api/storage-collections.ts';
import type { HomeVolumes } from '../volumes/home-volumes.ts';
import { whyClosed, type Target } from './plan-target.ts';

/** Silence after which a peer counts as lost for its volumes; what may still write there is the fence's matter. */
const LOST_MS = 8000;

/** Peers as volumes see them. */
export interface Targets {
  /** Whether a peer counts as lost for its volumes: also one that is no peer any more; not one that a person paused. */
  isLost(peer: string): boolean;
  /** Another number each time that its link came back or its store was told anew. */
  readonly revision: (peer: string) => number;
  /** All peers, by name, as they are for the volumes of a namespace. */
  of(namespace: string): ReadonlyMap<string, Target>;
}

/** Reads them from the cache of Peers and from their links. */
export const openTargets = (home: HomeVolumes, links: Links): Targets => {
  const isLost = (name: string): boolean => {
    const peer = home.peers.get(undefined, name);
    const link = links.get(name);
    if (link === undefined) return peer === undefined;
    return peer?.spec.paused !== true && !link.isUp() && link.silenceMs() > LOST_MS;
  };
  const revisions = new Map<string, number>();
  const revision: Targets['revision'] = (peer) => revisions.get(peer) ?? 0;
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
  return {
    isLost,
    revision,
    of: (namespace) =>
      new Map(
        home.peers.list().map((peer): [string, Target] => {
          const { name } = peer.metadata;
          const link = links.get(name);
          const store = link?.follow(STORE).get('store');
          const target: Target = {
            isUp: link?.isUp() ?? false,
            isLost: isLost(name),
            isPaused: peer.spec.paused,
            hasStore: store?.ready === true,
            revision: revision(name),
            message: store?.message,
            closed: whyClosed(peer, namespace, link?.follow(TWINS).get(namespace)),
          };
          return [name, target];
        }),
      ),
  };
};
