import type { Metrics } from '../runtime/metrics.ts';
import type { LinkSet } from './links.ts';

/** Exports each link's state; returns how to stop. */
export const registerPeeringMetrics = (metrics: Metrics, links: LinkSet): (() => void) => {
  const each = (value: (peer: string) => number | undefined) => () =>
    links
      .list()
      .map((link) => [value(link.peer), { peer: link.peer }] as const)
      .filter((series): series is readonly [number, { readonly peer: string }] => series[0] !== undefined);
  const stops = [
    metrics.gaugeFrom(
      'fluvia_peering_link_up',
      'Whether both sides of the link answer each other.',
      each((peer) => (links.get(peer)?.isUp() ? 1 : 0)),
    ),
    metrics.gaugeFrom(
      'fluvia_peering_silence_seconds',
      'Time since the peer last answered; +Inf before it ever did.',
      each((peer) => (links.get(peer)?.silenceMs() ?? Infinity) / 1000),
    ),
    metrics.gaugeFrom(
      'fluvia_peering_rtt_seconds',
      'Smoothed time from a ping over the link to its answer.',
      each((peer) => {
        const rttMs = links.end(peer)?.snapshot().rttMs;
        return rttMs === undefined ? undefined : rttMs / 1000;
      }),
    ),
    metrics.gaugeFrom(
      'fluvia_peering_refused_items',
      'Items and collections of the peer that are not taken.',
      each((peer) => links.end(peer)?.snapshot().refused.length),
    ),
    metrics.gaugeFrom(
      'fluvia_peering_held_bytes',
      'About the memory that the items of the peer take.',
      each((peer) => links.end(peer)?.snapshot().heldBytes),
    ),
  ];
  return () => {
    for (const stop of stops) stop();
  };
};
