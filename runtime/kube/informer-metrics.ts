/** What an informer tells about itself: a watch that stands still without saying so is the failure to look for first. */
import type { Metrics } from '../metrics.ts';
import type { ResourceRef } from './resources.ts';

export interface InformerMetrics {
  listed(again: boolean): void;
  restarted(reason: string): void;
  sawEvent(monotonicMs: number): void;
  /** Registers the gauges; returns how to remove them. */
  register(read: { readonly objects: () => number; readonly now: () => number }): () => void;
}

const nothing: InformerMetrics = {
  listed: () => {},
  restarted: () => {},
  sawEvent: () => {},
  register: () => () => {},
};

/** informerMetrics makes the metrics of one informer. */
export const informerMetrics = (metrics: Metrics | undefined, resource: ResourceRef): InformerMetrics => {
  if (!metrics) return nothing;
  const labels = { resource: resource.plural, group: resource.group };
  const lists = metrics.counter('fluvia_kube_lists_total', 'LIST requests of informers.');
  const relists = metrics.counter('fluvia_kube_relists_total', 'LIST requests after the first.');
  const restarts = metrics.counter('fluvia_kube_watch_restarts_total', 'Watches that ended, by reason.');
  let lastEvent: number | undefined;
  return {
    listed: (again) => {
      lists.inc(labels);
      if (again) relists.inc(labels);
    },
    restarted: (reason) => restarts.inc({ ...labels, reason }),
    sawEvent: (at) => {
      lastEvent = at;
    },
    register: ({ objects, now }) => {
      const stopObjects = metrics.gaugeFrom(
        'fluvia_kube_cache_objects',
        'Objects in informer caches.',
        () => [[objects(), labels]],
      );
      const stopAge = metrics.gaugeFrom(
        'fluvia_kube_seconds_since_last_watch_event',
        'Time since an event or bookmark came.',
        () => (lastEvent === undefined ? [] : [[(now() - lastEvent) / 1000, labels]]),
      );
      return () => {
        stopObjects();
        stopAge();
      };
    },
  };
};
