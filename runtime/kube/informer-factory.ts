/** Shares informers: one per resource and scope for all controllers of a process. */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { KubeClient } from './client.ts';
import { createInformer, type Informer } from './informer.ts';
import { apiVersionOf, type ResourceRef } from './resources.ts';
import type { HasMetadata } from './types.ts';

/** Which objects of a resource an informer follows. */
export interface InformerScope {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** InformerFactory hands out one running informer per resource and scope, so that no list is watched twice. */
export interface InformerFactory {
  /** The running informer; use its `whenSynced` before trusting its cache, and `addIndexers` for indexes. */
  for<T extends HasMetadata>(resource: ResourceRef, scope?: InformerScope): Informer<T>;
}

/** What the informers report to. */
export interface InformerFactoryOptions {
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}

/** Makes a factory whose informers run until `signal` aborts. */
export const createInformerFactory = (
  client: KubeClient,
  signal: AbortSignal,
  options: InformerFactoryOptions = {},
): InformerFactory => {
  const informers = new Map<string, Informer<HasMetadata>>();
  return {
    for: <T extends HasMetadata>(resource: ResourceRef, scope: InformerScope = {}): Informer<T> => {
      const { namespace, labelSelector, fieldSelector } = scope;
      const key = JSON.stringify([
        apiVersionOf(resource),
        resource.plural,
        namespace ?? null,
        labelSelector ?? null,
        fieldSelector ?? null,
      ]);
      let informer = informers.get(key);
      if (informer === undefined) {
        informer = createInformer<HasMetadata>({ client, resource, ...scope, ...options });
        informers.set(key, informer);
        informer.start(signal);
      }
      return informer as Informer<T>;
    },
  };
};
