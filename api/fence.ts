/**
 * The arithmetic of the fence: who may run a pod of which there must never be two. Pure: no clock, no I/O.
 *
 * The provider asks, home answers. An *enforcer* (the provider's leader; each node's agent) notes its own boot time when it
 * sends ask number n; an answer that names n lets the pods that it lists run until that note + L. Home notes its own boot
 * time before it sends an answer, and may start another copy of a pod 1.01 L + S after the last answer that listed it: the
 * note is older than the answer that names it, clocks differ by at most 1 %, and S bounds the stop. Neither the clocks' time
 * nor how long a message took matters. Answers list pods by UID, so that a peer which returns doesn't start what was
 * released meanwhile, whichever of its streams resumes first.
 *
 * Times are milliseconds of CLOCK_BOOTTIME of one machine: it goes on during suspend, and is never set.
 */

/** By how much two clocks may go apart: 1 %. */
const DRIFT = 1.01;
/** The boot clock is read in steps of 10 ms, twice. */
const RESOLUTION_MS = 50;
/** Asks that may be answered late; older ones are forgotten. */
const MAX_NOTES = 64;

/** What one enforcer knows about one consumer. */
export interface LeaseState {
  /** Number of the last ask. */
  readonly ask: number;
  /** Ask → when it was sent. */
  readonly notes: ReadonlyMap<number, number>;
  /** UID of the pod at home → until when it may run. */
  readonly until: ReadonlyMap<string, number>;
}

/** What an enforcer must know of an answer. */
export interface LeaseAnswer {
  readonly ask: number;
  readonly leaseSeconds: number;
  readonly pods: readonly string[];
}

/** An enforcer begins without a lease. `lastAsk` must not be below any number that an earlier one on its behalf used. */
export const noLease = (lastAsk: number): LeaseState => ({
  ask: lastAsk,
  notes: new Map(),
  until: new Map(),
});

/** Notes the next ask; the caller sends `state.ask` afterwards, never before. */
export const noteAsk = (state: LeaseState, nowMs: number): LeaseState => {
  const ask = state.ask + 1;
  const notes = new Map([...state.notes].slice(-(MAX_NOTES - 1)));
  return { ...state, ask, notes: notes.set(ask, nowMs) };
};

/** Takes an answer. One to an ask that this enforcer didn't send says nothing; a pod that isn't listed may run no more. */
export const hearAnswer = (state: LeaseState, answer: LeaseAnswer): LeaseState => {
  const note = state.notes.get(answer.ask);
  if (note === undefined) return state;
  const end = note + answer.leaseSeconds * 1000 - RESOLUTION_MS;
  const until = new Map(answer.pods.map((uid) => [uid, Math.max(end, state.until.get(uid) ?? 0)]));
  return { ...state, until };
};

/**
 * Takes over what another enforcer of this cluster holds: it was asked at `sentAtMs` and said how much time is left, which
 * was true at a later moment, so counting from the asking is safe.
 */
export const adoptLeases = (
  state: LeaseState,
  sentAtMs: number,
  leftMs: ReadonlyMap<string, number>,
): LeaseState => {
  const until = new Map(state.until);
  for (const [uid, left] of leftMs) until.set(uid, Math.max(until.get(uid) ?? 0, sentAtMs + left));
  return { ...state, until };
};

/** Whether the pod may run. */
export const isLeased = (state: LeaseState, uid: string, nowMs: number): boolean =>
  (state.until.get(uid) ?? 0) > nowMs;

/** What is left of each live lease. */
export const leasesLeft = (state: LeaseState, nowMs: number): ReadonlyMap<string, number> =>
  new Map(
    [...state.until]
      .filter(([, until]) => until > nowMs)
      .map(([uid, until]) => [uid, until - nowMs] as const),
  );

/** What home's leader knows of the answers that it and those before it sent. */
export interface AnswerRecord {
  /** UID → when another may be started. */
  readonly safeAt: ReadonlyMap<string, number>;
  /** The same for pods that only earlier leaders can have answered for. */
  readonly othersSafeAt: number;
}

/** How long a pod may run on after an answer, in home's milliseconds. */
export const fenceSpanMs = (leaseSeconds: number, stopSeconds: number): number =>
  Math.ceil(leaseSeconds * 1000 * DRIFT + stopSeconds * 1000);

/** A new leader doesn't know when the last one answered: at the latest when it took over. */
export const takeOver = (nowMs: number, spanMs: number): AnswerRecord => ({
  safeAt: new Map(),
  othersSafeAt: nowMs + spanMs,
});

/** Notes an answer; to be called before it is sent. */
export const noteAnswer = (
  record: AnswerRecord,
  nowMs: number,
  pods: readonly string[],
  spanMs: number,
): AnswerRecord => {
  const safeAt = new Map(record.safeAt);
  for (const uid of pods) safeAt.set(uid, Math.max(safeAt.get(uid) ?? 0, nowMs + spanMs));
  return { ...record, safeAt };
};

/** Forgets pods that are gone at home. */
export const forgetPods = (record: AnswerRecord, isThere: (uid: string) => boolean): AnswerRecord => ({
  ...record,
  safeAt: new Map([...record.safeAt].filter(([uid]) => isThere(uid))),
});

/** Milliseconds until another copy of the pod may be started; 0 when it may now. */
export const untilSafeMs = (record: AnswerRecord, uid: string, nowMs: number): number =>
  Math.max(0, Math.max(record.othersSafeAt, record.safeAt.get(uid) ?? 0) - nowMs);
