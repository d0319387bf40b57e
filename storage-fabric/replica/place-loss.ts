import type { Links, PeerLink } from '../../api/link.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Informer } from '../../runtime/kube/informer.ts';

/**
 * `up`: the place answers. `lost`: it has not for so long that it is no hiccup, or it is no peer any more. `unsure`: it does
 * not, but not for long, or this leader has just begun: nothing is decided by that. `paused`: a person's wish, no loss.
 */
export type PlaceState = 'up' | 'unsure' | 'lost' | 'paused';

/** Whether places answer, judged once for all volumes; what may still write there is the fence's matter. */
export interface PlaceLoss {
  state(place: string): PlaceState;
  /** For how long the link has been up; undefined while it is not. */
  upForMs(place: string): number | undefined;
  /** When it was heard last, milliseconds since 1970, also by the leader before; undefined where nobody knows. */
  heardAt(place: string): number | undefined;
  /** Called with the place's name when it turned out to be lost. */
  onLoss(listener: (place: string) => void): void;
}

/** Silence after which a peer that this leader has heard counts as lost for its volumes. */
const LOST_MS = 8000;
/** The same for one that it has not heard yet: a take-over is no loss. As offloading has it for pods. */
const START_MS = 30_000;

interface Tracked {
  readonly link: PeerLink;
  /** Monotonic. */
  upSince: number | undefined;
  wasUp: boolean;
  isLost: boolean;
  cancel: (() => void) | undefined;
}

/** What the Peer says, while the link that it tells of is down: of one that is up it tells an earlier break. */
const notedAt = (peer: Peer | undefined): number | undefined => {
  const { state, lastHeardAt } = peer?.status?.link ?? {};
  const at = Date.parse(lastHeardAt ?? '');
  return state === 'Up' || Number.isNaN(at) ? undefined : at;
};

/** Follows all links until `signal` aborts; `peers` must have synced. */
export const watchPlaces = (
  links: Links,
  peers: Pick<Informer<Peer>, 'get' | 'onChange'>,
  clock: Clock,
  signal: AbortSignal,
): PlaceLoss => {
  const tracked = new Map<string, Tracked>();
  /** Of links that went down or ended, milliseconds since 1970. */
  const heard = new Map<string, number>();
  const listeners = new Set<(place: string) => void>();
  const peerOf = (place: string): Peer | undefined => peers.get(undefined, place);

  const hear = (place: string, at: number | undefined): void => {
    if (at !== undefined && at > (heard.get(place) ?? -Infinity)) heard.set(place, at);
  };
  const heardBy = (link: PeerLink): number | undefined => {
    const silence = link.silenceMs();
    return Number.isFinite(silence) ? clock.now().getTime() - silence : undefined;
  };
  const stop = (entry: Tracked): void => {
    entry.cancel?.();
    entry.cancel = undefined;
  };
  const judge = (entry: Tracked): void => {
    const { link } = entry;
    const isUp = link.isUp();
    if (isUp) entry.upSince ??= clock.monotonicMs();
    else {
      entry.upSince = undefined;
      hear(link.peer, heardBy(link));
    }
    if (isUp || peerOf(link.peer)?.spec.paused === true) {
      stop(entry);
      entry.isLost = false;
      // One that was paused is dialled anew, which takes as long as after a take-over.
      entry.wasUp = isUp;
      return;
    }
    if (entry.isLost || entry.cancel !== undefined) return;
    const ms = entry.wasUp ? Math.max(0, LOST_MS - link.silenceMs()) : START_MS;
    entry.cancel = clock.after(ms, () => {
      entry.cancel = undefined;
      entry.isLost = true;
      for (const listener of listeners) listener(link.peer);
    });
  };

  const stopLinks = links.onLink((link) => {
    const entry: Tracked = { link, upSince: undefined, wasUp: false, isLost: false, cancel: undefined };
    tracked.set(link.peer, entry);
    const stopListening = link.onStateChange(() => judge(entry));
    link.signal.addEventListener('abort', () => {
      stopListening();
      stop(entry);
      hear(link.peer, heardBy(link));
      if (tracked.get(link.peer) === entry) tracked.delete(link.peer);
    });
    judge(entry);
  });
  const stopPeers = peers.onChange(({ type, object }) => {
    const entry = tracked.get(object.metadata.name);
    if (entry !== undefined) judge(entry);
    if (type === 'deleted') hear(object.metadata.name, notedAt(object));
  });
  signal.addEventListener('abort', () => {
    stopLinks();
    stopPeers();
    for (const entry of tracked.values()) stop(entry);
  });

  return {
    state: (place) => {
      const entry = tracked.get(place);
      if (entry?.link.isUp() === true) return 'up';
      const peer = peerOf(place);
      if (peer?.spec.paused === true) return 'paused';
      if (entry === undefined) return peer === undefined ? 'lost' : 'unsure';
      return entry.isLost ? 'lost' : 'unsure';
    },
    upForMs: (place) => {
      const upSince = tracked.get(place)?.upSince;
      return upSince === undefined ? undefined : clock.monotonicMs() - upSince;
    },
    heardAt: (place) => {
      const link = tracked.get(place)?.link;
      const own = link === undefined ? undefined : heardBy(link);
      return own ?? heard.get(place) ?? notedAt(peerOf(place));
    },
    onLoss: (listener) => void listeners.add(listener),
  };
};
