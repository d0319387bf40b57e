import { createInformer, type Informer } from './informer.ts';
import type { KubeClient } from './client.ts';
import type { ResourceRef } from './resources.ts';
import type { HasMetadata } from './types.ts';

/** Which objects of a resource an informer follows. */
export interface InformerScope {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** InformerFactory hands out one running informer per resource and scope, so that no list is watched twice. */
export interface InformerFactory {
  /** The running informer; use its `whenSynced` before trusting its cache. */
  for<T extends HasMetadata>(resource: ResourceRef, scope?: InformerScope): Informer<T>;
}

/** Makes a factory whose informers run until `signal` aborts. */
export const createInformerFactory = (client: KubeClient, signal: AbortSignal): InformerFactory => {
  const informers = new Map<string, Informer<HasMetadata>>();
  return {
    for: <T extends HasMetadata>(resource: ResourceRef, scope: InformerScope = {}): Informer<T> => {
      const key = JSON.stringify([
        resource.group,
        resource.plural,
        scope.namespace ?? null,
        scope.labelSelector ?? null,
        scope.fieldSelector ?? null,
      ]);
      let informer = informers.get(key);
      if (informer === undefined) {
        informer = createInformer<HasMetadata>({ client, resource, ...scope });
        informers.set(key, informer);
        informer.start(signal);
      }
      return informer as Informer<T>;
    },
  };
};
