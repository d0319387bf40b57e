/** Loads what belongs to a key when it is first asked for, once whoever asks; after a failure the next to ask loads anew. */
export const onceByKey = <T>(load: (key: string) => Promise<T>): ((key: string) => Promise<T>) => {
  const loaded = new Map<string, Promise<T>>();
  return (key) => {
    const known = loaded.get(key);
    if (known !== undefined) return known;
    const loading = load(key);
    loaded.set(key, loading);
    loading.catch(() => loaded.delete(key));
    return loading;
  };
};
