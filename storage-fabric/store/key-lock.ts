/** Runs what is about one key one after another, in the order of asking; what is about other keys doesn't wait. */
export type KeyLock = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** Makes a lock; it holds nothing of keys that nobody is at. */
export const createKeyLock = (): KeyLock => {
  const last = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const before = last.get(key);
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    last.set(key, ended);
    try {
      await before;
      return await work();
    } finally {
      resolve();
      if (last.get(key) === ended) last.delete(key);
    }
  };
};
