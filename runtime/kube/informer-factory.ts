/** Shares informers: one per resource and selector for all controllers of a process. */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { KubeClient } from './client.ts';
import { createInformer, type Informer, type InformerOptions } from './informer.ts';
import { apiVersionOf, type ResourceRef } from './resources.ts';
import type { HasMetadata } from './types.ts';

/** What to watch; `indexers` are added to a shared informer, `transform` is taken from the first caller. */
export type InformerRequest<T extends HasMetadata> = Pick<
  InformerOptions<T>,
  'namespace' | 'labelSelector' | 'fieldSelector' | 'indexers' | 'transform'
>;

export interface InformerFactory {
  /** The informer of a resource and selector; made and started at the first call. */
  informer<T extends HasMetadata>(resource: ResourceRef, request?: InformerRequest<T>): Informer<T>;
  /** Resolves when every informer asked for so far has synced. */
  whenSynced(signal?: AbortSignal): Promise<void>;
}

export interface InformerFactoryOptions {
  readonly client: KubeClient;
  /** Ends all informers. */
  readonly signal: AbortSignal;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}

/** createInformerFactory makes the factory of a process, or of a leader's term. */
export const createInformerFactory = (options: InformerFactoryOptions): InformerFactory => {
  const informers = new Map<string, Informer<HasMetadata>>();
  const { client, signal, clock, log, metrics } = options;
  return {
    informer: <T extends HasMetadata>(
      resource: ResourceRef,
      request: InformerRequest<T> = {},
    ): Informer<T> => {
      const key = JSON.stringify([
        apiVersionOf(resource),
        resource.plural,
        request.namespace,
        request.labelSelector,
        request.fieldSelector,
      ]);
      const known = informers.get(key) as unknown as Informer<T> | undefined;
      if (known) {
        known.addIndexers(request.indexers ?? {});
        return known;
      }
      const made = createInformer<T>({ client, resource, ...request, clock, log, metrics });
      informers.set(key, made);
      made.start(signal);
      return made;
    },
    whenSynced: async (waitSignal) => {
      await Promise.all([...informers.values()].map((informer) => informer.whenSynced(waitSignal)));
    },
  };
};
