/** Which objects of consumers are not written here because there is too much of them already, for those that wait for them. */
import type { WatchSource } from '../../runtime/kube/controller.ts';
import type { ObjectKey } from './object-key.ts';

export interface Refusals {
  set(key: ObjectKey, message: string): void;
  clear(key: ObjectKey): void;
  /** Why an object (`Kind/namespace/name` at home) isn't here. */
  of(clusterID: string, id: string): string | undefined;
  /** Why some object of a home namespace isn't here: the first of them, and how it is called. */
  inNamespace(clusterID: string, homeNamespace: string): string | undefined;
  /** Keys `<cluster ID>/<home namespace>` in which the first refusal came or the last one went. */
  readonly source: WatchSource;
}

const namespaceKey = (clusterID: string, homeNamespace: string): string => `${clusterID}/${homeNamespace}`;

/** Makes an empty one. */
export const createRefusals = (): Refusals => {
  const byNamespace = new Map<string, Map<string, string>>();
  const listeners = new Set<(key: string) => void>();
  const tell = (key: string): void => {
    for (const listener of listeners) listener(key);
  };
  return {
    set: ({ clusterID, homeNamespace, id }, message) => {
      const key = namespaceKey(clusterID, homeNamespace);
      const there = byNamespace.get(key);
      if (there !== undefined) {
        there.set(id, message);
        return;
      }
      byNamespace.set(key, new Map([[id, message]]));
      tell(key);
    },
    clear: ({ clusterID, homeNamespace, id }) => {
      const key = namespaceKey(clusterID, homeNamespace);
      const there = byNamespace.get(key);
      if (there?.delete(id) !== true || there.size > 0) return;
      byNamespace.delete(key);
      tell(key);
    },
    of: (clusterID, id) => byNamespace.get(namespaceKey(clusterID, id.split('/')[1] ?? ''))?.get(id),
    inNamespace: (clusterID, homeNamespace) => {
      const [first] = byNamespace.get(namespaceKey(clusterID, homeNamespace)) ?? [];
      if (first === undefined) return undefined;
      const [kind = '', , name = ''] = first[0].split('/');
      return `${kind} ${name}: ${first[1]}`;
    },
    source: {
      whenSynced: () => Promise.resolve(),
      subscribe: (enqueue) => {
        listeners.add(enqueue);
        return () => void listeners.delete(enqueue);
      },
    },
  };
};
