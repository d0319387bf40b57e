/** Records Events of `events.k8s.io/v1` about objects. */
import type { HasMetadata } from './types.ts';

/** EventSubject is the object that an event is about. */
export interface EventSubject extends HasMetadata {
  readonly apiVersion: string;
  readonly kind: string;
}

export interface EventInput {
  readonly type: 'Normal' | 'Warning';
  /** UpperCamel, the same words as condition reasons. */
  readonly reason: string;
  /** UpperCamel verb: what was done or tried. Default: the reason. */
  readonly action?: string | undefined;
  /** A sentence for people, without secrets. */
  readonly note: string;
  readonly related?: EventSubject | undefined;
}

export interface EventRecorder {
  /** Records without waiting, never throws; repeats of (object, type, reason) raise a counter instead of making new Events. */
  record(about: EventSubject, event: EventInput): void;
  /** Resolves when what was recorded so far has been sent or given up. */
  flush(): Promise<void>;
}
