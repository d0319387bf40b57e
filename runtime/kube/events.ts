/** Records Events of `events.k8s.io/v1` about objects. */
import { randomBytes } from 'node:crypto';

import { systemClock, type Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import { EVENT } from './resources.ts';
import { keyOf, type HasMetadata, type ObjectReference } from './types.ts';

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

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** `reportingController`: `fluvia.dev/controller`. */
  readonly controller: string;
  /** `reportingInstance`: the pod's name. */
  readonly instance: string;
  readonly log: Logger;
  readonly clock?: Clock | undefined;
}

interface Known {
  readonly namespace: string;
  readonly name: string;
  readonly note: string;
  readonly madeAt: number;
  count: number;
  /** When the server was last told. */
  toldAt: number;
}

/** The API server keeps events for an hour, so older ones are made anew. */
const keepMs = 30 * 60_000;
/** A repeat is told to the server at most this often. */
const tellMs = 10_000;
const longestQueue = 200;
const mostKnown = 1000;
const longestNote = 1024;

const microTime = (date: Date): string => date.toISOString().replace('Z', '000Z');

/** createEventRecorder makes a recorder that sends one event at a time, in the background. */
export const createEventRecorder = (options: EventRecorderOptions): EventRecorder => {
  const { client, controller, instance, log } = options;
  const clock = options.clock ?? systemClock;
  const known = new Map<string, Known>();
  let queued = 0;
  let tail: Promise<void> = Promise.resolve();

  const create = async (key: string, about: EventSubject, event: EventInput, note: string): Promise<void> => {
    const at = clock.monotonicMs();
    const namespace = about.metadata.namespace ?? 'default';
    const name = `${about.metadata.name.slice(0, 200)}.${randomBytes(8).toString('hex')}`;
    const entry: Known = { namespace, name, note, madeAt: at, count: 1, toldAt: at };
    known.set(key, entry);
    const oldest = known.size > mostKnown ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
    try {
      await client.create(EVENT, {
        metadata: { name, namespace },
        eventTime: microTime(clock.now()),
        reportingController: controller,
        reportingInstance: instance.slice(0, 128),
        action: event.action ?? event.reason,
        reason: event.reason,
        type: event.type,
        note,
        regarding: refer(about),
        ...(event.related ? { related: refer(event.related) } : {}),
      });
    } catch (error) {
      known.delete(key);
      throw error;
    }
  };

  const tellSeries = async (key: string, entry: Known): Promise<void> => {
    entry.toldAt = clock.monotonicMs();
    const series = { count: entry.count, lastObservedTime: microTime(clock.now()) };
    try {
      await client.patch(EVENT, entry.name, entry.namespace, { series }, { type: 'merge' });
    } catch (error) {
      known.delete(key);
      if (!isNotFound(error)) throw error;
    }
  };

  const send = async (about: EventSubject, event: EventInput): Promise<void> => {
    const note = event.note.slice(0, longestNote);
    const key = [about.kind, about.metadata.uid ?? keyOf(about), event.type, event.reason].join('|');
    const entry = known.get(key);
    const now = clock.monotonicMs();
    const stale = entry === undefined || now - entry.madeAt > keepMs;
    // Notes can't be changed once sent: another text is a new event, but not more often than repeats are told.
    if (stale || (entry.note !== note && now - entry.toldAt > tellMs)) {
      await create(key, about, event, note);
      return;
    }
    entry.count += 1;
    if (entry.count === 2 || now - entry.toldAt > tellMs) await tellSeries(key, entry);
  };

  return {
    record: (about, event) => {
      if (queued >= longestQueue) {
        log.warn('too many events: one is dropped', { reason: event.reason, key: keyOf(about) });
        return;
      }
      queued += 1;
      tail = tail
        .then(() => send(about, event))
        .catch((err: unknown) =>
          log.warn('an event was not recorded', { err, reason: event.reason, key: keyOf(about) }),
        )
        .finally(() => (queued -= 1));
    },
    flush: () => tail,
  };
};

const refer = (about: EventSubject): ObjectReference => ({
  apiVersion: about.apiVersion,
  kind: about.kind,
  namespace: about.metadata.namespace,
  name: about.metadata.name,
  uid: about.metadata.uid,
});
