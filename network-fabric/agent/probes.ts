/** The agent's responder and prober, which exist while the node is the gateway. */
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { createProber, startResponder, type ProbeResult, type Prober } from './probe.ts';

export interface Probes {
  /** Answers and sends at this address; undefined: not at all. */
  serve(address: string | undefined): void;
  probe(peers: readonly { readonly peer: string; readonly probeAddress?: string | undefined }[]): void;
  result(peer: string): ProbeResult | undefined;
  close(): void;
}

/** createProbes makes them; sockets that fail are made again at the next `serve`. */
export const createProbes = (clock: Clock, log: Logger): Probes => {
  let current: { readonly address: string; readonly prober: Prober; readonly close: () => void } | undefined;
  const close = (): void => {
    const old = current;
    current = undefined;
    old?.close();
  };
  return {
    serve: (address) => {
      if (current?.address === address) return;
      close();
      if (address === undefined) return;
      const onError = (err: Error): void => {
        log.warn('the probe socket failed', { err });
        close();
      };
      const responder = startResponder(address, onError);
      const prober = createProber(clock, address, onError);
      current = {
        address,
        prober,
        close: () => {
          responder.close();
          prober.close();
        },
      };
    },
    probe: (peers) =>
      current?.prober.probe(
        new Map(
          peers.flatMap(({ peer, probeAddress }) =>
            probeAddress === undefined ? [] : [[peer, probeAddress]],
          ),
        ),
      ),
    result: (peer) => current?.prober.result(peer),
    close,
  };
};
