import type { Links, PeerLink } from '../../api/link.ts';
import type { Clock } from '../../runtime/clock.ts';

/**
 * `up`: the peer answers. `lost`: it hasn't for longer than the hysteresis. `unsure`: it doesn't, but not for long, or
 * this leader has just begun: leave things as they are.
 */
export type LinkState = 'up' | 'unsure' | 'lost';

/** Links with hysteresis, one judgement for all controllers. */
export interface LinkHealth {
  state(peer: string): LinkState;
  /** How long it is lost, from the end of the hysteresis; undefined while it isn't. */
  lostForMs(peer: string): number | undefined;
  /** Called with the peer's name whenever its state may have changed. */
  onChange(listener: (peer: string) => void): () => void;
}

export interface LinkHealthOptions {
  /** How long a link may be down before it is lost, asked at each break; default 5 s. */
  readonly lossMs?: () => number;
  /** The same for links that this process never saw up, default 30 s: a takeover is no loss. */
  readonly startMs?: number;
}

interface Tracked {
  readonly link: PeerLink;
  /** Monotonic time at which it was found lost. */
  lostAt: number | undefined;
  wasUp: boolean;
  cancel: (() => void) | undefined;
}

/** Follows all links until `signal` aborts. */
export const watchLinkHealth = (
  links: Links,
  clock: Clock,
  signal: AbortSignal,
  options: LinkHealthOptions = {},
): LinkHealth => {
  const { lossMs = () => 5000, startMs = 30_000 } = options;
  const tracked = new Map<string, Tracked>();
  const listeners = new Set<(peer: string) => void>();
  const startedAt = clock.monotonicMs();
  const notify = (peer: string): void => {
    for (const listener of listeners) listener(peer);
  };
  const judge = (entry: Tracked): void => {
    if (entry.link.isUp()) {
      entry.cancel?.();
      entry.cancel = undefined;
      entry.lostAt = undefined;
      entry.wasUp = true;
    } else if (entry.lostAt === undefined && entry.cancel === undefined) {
      entry.cancel = clock.after(entry.wasUp ? lossMs() : startMs, () => {
        entry.cancel = undefined;
        if (!entry.link.isUp()) entry.lostAt = clock.monotonicMs();
        notify(entry.link.peer);
      });
    }
    notify(entry.link.peer);
  };
  const stop = links.onLink((link) => {
    const entry: Tracked = { link, lostAt: undefined, wasUp: false, cancel: undefined };
    tracked.set(link.peer, entry);
    const stopListening = link.onStateChange(() => judge(entry));
    link.signal.addEventListener('abort', () => {
      stopListening();
      entry.cancel?.();
      if (tracked.get(link.peer) === entry) tracked.delete(link.peer);
      notify(link.peer);
    });
    judge(entry);
  });
  signal.addEventListener('abort', () => {
    stop();
    for (const entry of tracked.values()) entry.cancel?.();
  });
  return {
    state: (peer) => {
      const entry = tracked.get(peer);
      if (entry === undefined) return clock.monotonicMs() - startedAt < startMs ? 'unsure' : 'lost';
      if (entry.link.isUp()) return 'up';
      return entry.lostAt === undefined ? 'unsure' : 'lost';
    },
    lostForMs: (peer) => {
      const lostAt = tracked.get(peer)?.lostAt;
      return lostAt === undefined ? undefined : clock.monotonicMs() - lostAt;
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};
