/** Turns what consumers ask in one collection into keys of a queue, and tells them when their answers are complete. */
import type { Publisher, Subscriber } from '../../api/link.ts';
import { messageOf } from '../../api/errors.ts';
import type { WatchSource } from '../../runtime/kube/controller.ts';
import type { Consumer } from './consumers.ts';
import type { ProviderContext } from './context.ts';

interface Synced {
  readonly whenSynced: (signal?: AbortSignal) => Promise<void>;
}

export interface ItemSourceOptions {
  readonly subscriber: (consumer: Consumer) => Subscriber<unknown>;
  /** Where the answers go; it is marked complete once every key was reconciled after all was known. */
  readonly publisher?: (consumer: Consumer) => Publisher<unknown>;
  /** Keys of what this cluster has of a consumer already, without the cluster ID. */
  readonly localIds: (clusterID: string) => Iterable<string>;
  /** Must have synced before `localIds` can be believed. */
  readonly reads: readonly Synced[];
  readonly signal: AbortSignal;
}

export interface ItemSource extends WatchSource {
  /** Says that a key's answer is published (or that there is none to publish). */
  readonly done: (key: string) => void;
}

/** Keys are `<cluster ID>/<item's id>`. */
export const createItemSource = (context: ProviderContext, options: ItemSourceOptions): ItemSource => {
  const { signal } = options;
  const pending = new Map<Consumer, Set<string>>();

  const settle = (consumer: Consumer): void => {
    if (pending.get(consumer)?.size !== 0) return;
    pending.delete(consumer);
    options.publisher?.(consumer).markComplete();
  };
  const keysOf = (consumer: Consumer): Set<string> =>
    new Set(
      [...options.subscriber(consumer).entries().keys(), ...options.localIds(consumer.clusterID)].map(
        (id) => `${consumer.clusterID}/${id}`,
      ),
    );

  const attach = (consumer: Consumer, enqueue: (key: string) => void): void => {
    const subscriber = options.subscriber(consumer);
    const lookAtAll = (): void => {
      const keys = keysOf(consumer);
      if (subscriber.isComplete()) pending.set(consumer, new Set(keys));
      for (const key of keys) enqueue(key);
      settle(consumer);
    };
    const stop = subscriber.onChange((id) => {
      if (id === undefined) lookAtAll();
      else enqueue(`${consumer.clusterID}/${id}`);
    });
    const stopAll = (): void => {
      stop();
      pending.delete(consumer);
      // The peering is gone: what is left of it here has to go.
      for (const id of options.localIds(consumer.clusterID)) enqueue(`${consumer.clusterID}/${id}`);
    };
    consumer.link.signal.addEventListener('abort', stopAll, { once: true });
    lookAtAll();
  };

  const whenSynced = async (): Promise<void> => {
    await Promise.all(options.reads.map((one) => one.whenSynced(signal)));
  };

  return {
    whenSynced,
    subscribe: (enqueue) => {
      let stop: (() => void) | undefined;
      let stopped = false;
      whenSynced().then(
        () => {
          if (!stopped) stop = context.consumers.onConsumer((consumer) => attach(consumer, enqueue));
        },
        (error: unknown) => {
          if (!signal.aborted) context.deps.log.error('informers did not sync', { err: messageOf(error) });
        },
      );
      return () => {
        stopped = true;
        stop?.();
      };
    },
    done: (key) => {
      for (const [consumer, keys] of pending) if (keys.delete(key)) settle(consumer);
    },
  };
};
