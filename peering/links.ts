import type { Pin } from '../api/cluster-id.ts';
import { COLLECTIONS } from '../api/collections.ts';
import type { ContainerStreamHandler, Links, PeerLink } from '../api/link.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createBudgets } from './budget.ts';
import { startDialler, type Dialler } from './dialler.ts';
import type { Identity } from './identity.ts';
import type { LinkEnd } from './link-end.ts';
import { createLink } from './link.ts';
import type { Term } from './term.ts';

/** All links of this cluster, with the ends that `peering/` itself uses. */
export interface LinkSet extends Links {
  end(peer: string): LinkEnd | undefined;
  byPin(pin: Pin): LinkEnd | undefined;
  /** Makes the link of a Peer, or brings it up to date; also dials if the Peer has endpoints. */
  ensure(peer: Peer): LinkEnd;
  /** Ends the link for good. */
  remove(peer: string): void;
  /** Ends all without touching any object: this process stops. */
  close(): void;
}

export interface LinkSetOptions {
  readonly identity: Identity;
  readonly term: Term;
  readonly clock: Clock;
  readonly log: Logger;
  /** The other side said that the peering is over. */
  readonly onLeft: (peer: Peer, how: 'Leave' | 'NotPeered') => Promise<void>;
  /** A link's state or problem changed. */
  readonly onChange: (peer: string) => void;
}

interface Entry {
  readonly uid: string | undefined;
  readonly link: LinkEnd;
  readonly dialler: Dialler;
  peer: Peer;
}

/** Makes an empty set. */
export const createLinkSet = (options: LinkSetOptions): LinkSet => {
  const { identity, term, clock, log, onLeft, onChange } = options;
  const budgets = createBudgets();
  const entries = new Map<string, Entry>();
  const listeners = new Set<(link: PeerLink) => void>();
  let handler: ContainerStreamHandler | undefined;

  const remove = (name: string): void => {
    const entry = entries.get(name);
    if (entry === undefined) return;
    entries.delete(name);
    entry.dialler.stop();
    entry.link.close();
  };

  const add = (peer: Peer): LinkEnd => {
    const name = peer.metadata.name;
    const link = createLink({
      peer,
      identity,
      term,
      clock,
      log,
      collections: COLLECTIONS,
      budget: budgets.link(),
      containerHandler: () => handler,
      onLeft: (how) => onLeft(entries.get(name)?.peer ?? peer, how),
    });
    link.onStateChange(() => onChange(name));
    const dialler = startDialler({ peer, link, identity, clock, log });
    entries.set(name, { uid: peer.metadata.uid, link, dialler, peer });
    for (const listener of listeners) listener(link);
    return link;
  };

  return {
    get: (peer) => entries.get(peer)?.link,
    end: (peer) => entries.get(peer)?.link,
    list: () => [...entries.values()].map((entry) => entry.link),
    onLink: (listener) => {
      listeners.add(listener);
      for (const { link } of entries.values()) listener(link);
      return () => void listeners.delete(listener);
    },
    handleContainerStreams: (next) => (handler = next),
    byPin: (pin) => [...entries.values()].find(({ peer }) => peer.spec.pins.includes(pin))?.link,
    ensure: (peer) => {
      const name = peer.metadata.name;
      const entry = entries.get(name);
      // Another object under the same name is another peering.
      if (entry !== undefined && entry.uid !== peer.metadata.uid) remove(name);
      else if (entry !== undefined) {
        const dropped = entry.peer.spec.pins.some((pin) => !peer.spec.pins.includes(pin));
        entry.peer = peer;
        entry.link.update(peer);
        // A dropped pin is revoked: whoever is connected has to prove the remaining one.
        if (dropped) entry.link.disconnect('a key was revoked');
        entry.dialler.update(peer);
        return entry.link;
      }
      return add(peer);
    },
    remove,
    close: () => {
      for (const { dialler, link } of entries.values()) {
        dialler.stop();
        link.stop();
      }
    },
  };
};
