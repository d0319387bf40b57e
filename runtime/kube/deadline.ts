/** A signal with a time limit, cleaned up as soon as the call is over (AbortSignal.timeout would live on until its time). */

export interface Deadline {
  /** Aborts with the parent, or when the time is over. */
  readonly signal: AbortSignal;
  /** Whether it was the time, not the parent. */
  expired(): boolean;
  /** Starts the time anew. */
  refresh(): void;
  clear(): void;
}

/** createDeadline limits `parent` to `ms` from now on; `clear` it when the work is done. */
export const createDeadline = (parent: AbortSignal | undefined, ms: number): Deadline => {
  const controller = new AbortController();
  let expired = false;
  const timer = setTimeout(() => {
    expired = !controller.signal.aborted;
    controller.abort(new Error(`no answer in ${ms} ms`));
  }, ms);
  const follow = (): void => controller.abort(parent?.reason);
  parent?.addEventListener('abort', follow, { once: true });
  if (parent?.aborted) follow();
  return {
    signal: controller.signal,
    expired: () => expired,
    refresh: () => void timer.refresh(),
    clear: () => {
      clearTimeout(timer);
      parent?.removeEventListener('abort', follow);
    },
  };
};

/** unlessAborted settles as `promise` does, or rejects with the signal's reason as soon as that aborts. */
export const unlessAborted = <T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
};
