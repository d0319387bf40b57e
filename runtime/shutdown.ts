/** Graceful stop: the first SIGTERM or SIGINT aborts a signal, a second one or the time limit ends the process. */
import type { Logger } from './log.ts';

export interface Shutdown {
  /** Aborts when the process shall stop. */
  readonly signal: AbortSignal;
  /** Runs at stop, last registered first; each waits for the one before. */
  onStop(name: string, stop: () => Promise<void> | void): void;
  /** Starts the stop as if a signal had come. */
  stop(reason: string): void;
  /** Resolves when everything registered has stopped. */
  readonly stopped: Promise<void>;
}

export interface ShutdownOptions {
  readonly log: Logger;
  /** How long stopping may take, default 20 s; then the process exits with 1. */
  readonly limitMs?: number | undefined;
  /** Default: exits the process. */
  readonly exit?: ((code: number) => void) | undefined;
  readonly signals?: readonly NodeJS.Signals[] | undefined;
}

/** installShutdown listens for the signals; call it once per process. */
export const installShutdown = (options: ShutdownOptions): Shutdown => {
  const { log, limitMs = 20_000, exit = (code: number): void => process.exit(code) } = options;
  const controller = new AbortController();
  const stops: { readonly name: string; readonly stop: () => Promise<void> | void }[] = [];
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const runStops = async (): Promise<void> => {
    for (let next = stops.pop(); next; next = stops.pop()) {
      try {
        await next.stop();
      } catch (err) {
        log.error('stopping failed', { part: next.name, err });
      }
    }
    resolve();
  };
  const stop = (reason: string): void => {
    if (controller.signal.aborted) return;
    log.info('stopping', { reason });
    const limit = setTimeout(() => {
      log.error('stopping took too long', { limitMs, waitingFor: stops.map((part) => part.name) });
      exit(1);
    }, limitMs);
    limit.unref();
    controller.abort(new Error(`stopping: ${reason}`));
    void runStops().finally(() => clearTimeout(limit));
  };
  for (const name of options.signals ?? (['SIGTERM', 'SIGINT'] as const)) {
    process.on(name, () => {
      if (controller.signal.aborted) exit(name === 'SIGINT' ? 130 : 143);
      else stop(name);
    });
  }
  return {
    signal: controller.signal,
    onStop: (name, run) => void stops.push({ name, stop: run }),
    stop,
    stopped,
  };
};
