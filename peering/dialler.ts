import type { Peer } from '../api/v1alpha1/peer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { messageOf } from '../api/errors.ts';
import type { Identity } from './identity.ts';
import type { LinkEnd } from './link-end.ts';
import { ALPN } from './protocol.ts';
import { dialPinned } from './tls.ts';

/** Keeps a peering's two connections, from the side that can reach the other. */
export interface Dialler {
  /** The newest Peer object; ends what it no longer allows. */
  update(peer: Peer): void;
  stop(): void;
}

export interface DiallerOptions {
  readonly peer: Peer;
  readonly link: LinkEnd;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Logger;
}

const SHORTEST_PAUSE = 200;
const LONGEST_PAUSE = 5000;
/** A connection that stood this long was a good one: begin anew with short pauses. */
const GOOD_AFTER = 5000;

/** Starts to dial; goes on until `stop` or the link's end. */
export const startDialler = (options: DiallerOptions): Dialler => {
  const { link, identity, clock } = options;
  const log = options.log.child({ peer: options.peer.metadata.name });
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, link.signal]);
  let peer = options.peer;
  let wake = new AbortController();

  const isWanted = (): boolean => !peer.spec.paused && peer.spec.endpoints.length > 0;

  const connectOnce = async (alpn: typeof ALPN.call | typeof ALPN.serve, endpoint: string): Promise<void> => {
    const { socket } = await dialPinned(endpoint, alpn, peer.spec.pins, identity, signal);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const stop = (): void => void socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    if (alpn === ALPN.call) await link.attachClient(socket);
    else link.attachServer(socket);
    await closed;
    signal.removeEventListener('abort', stop);
  };

  const keep = async (alpn: typeof ALPN.call | typeof ALPN.serve): Promise<void> => {
    let pause = SHORTEST_PAUSE;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const begun = clock.monotonicMs();
      const endpoint = peer.spec.endpoints[attempt % Math.max(1, peer.spec.endpoints.length)];
      try {
        if (isWanted() && endpoint !== undefined) await connectOnce(alpn, endpoint);
      } catch (error) {
        if (alpn === ALPN.call && !signal.aborted) {
          log.info('dialling failed', { endpoint, reason: messageOf(error) });
          link.dialFailed(error);
        }
      }
      if (clock.monotonicMs() - begun > GOOD_AFTER) pause = SHORTEST_PAUSE;
      await clock.sleep(pause * (0.5 + Math.random()), AbortSignal.any([signal, wake.signal]));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  };

  void keep(ALPN.call);
  void keep(ALPN.serve);

  return {
    update: (newest) => {
      const changed =
        newest.spec.paused !== peer.spec.paused ||
        newest.spec.endpoints.join() !== peer.spec.endpoints.join();
      peer = newest;
      if (!changed) return;
      wake.abort();
      wake = new AbortController();
    },
    stop: () => stopped.abort(),
  };
};
