/** Keys of a queue that wait for something which other controllers notice. */

export interface Waiters {
  /** Remembers that `key` waits for `topic`. */
  wait(topic: string, key: string): void;
  /** Forgets it. */
  stop(topic: string, key: string): void;
  /**
   * Gives keys that wait for `topic` to `enqueue`, at most `limit`, the longest waiting first, and forgets them: who must
   * wait on says so again and is last then.
   */
  wake(topic: string, limit?: number): void;
  topics(): readonly string[];
}

/** Makes an empty register; `enqueue` is called for each key that is woken. */
export const createWaiters = (enqueue: (key: string) => void): Waiters => {
  const topics = new Map<string, Set<string>>();
  return {
    wait: (topic, key) => {
      const keys = topics.get(topic) ?? new Set<string>();
      keys.add(key);
      topics.set(topic, keys);
    },
    stop: (topic, key) => {
      const keys = topics.get(topic);
      keys?.delete(key);
      if (keys?.size === 0) topics.delete(topic);
    },
    wake: (topic, limit = Infinity) => {
      const keys = topics.get(topic);
      if (keys === undefined) return;
      const woken = [...keys].slice(0, limit);
      for (const key of woken) keys.delete(key);
      if (keys.size === 0) topics.delete(topic);
      for (const key of woken) enqueue(key);
    },
    topics: () => [...topics.keys()],
  };
};
