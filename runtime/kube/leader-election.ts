/** Leader election by a Lease. */
import { systemBootClock } from '../boot-clock.ts';
import { systemClock, type Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isConflict } from './errors.ts';
import { LEASE } from './resources.ts';
import type { Lease, ManifestMeta } from './types.ts';

interface LeaseManifest {
  readonly metadata: ManifestMeta;
  readonly spec: Lease['spec'];
}

/** LeaderTerm is one uninterrupted leadership. */
export interface LeaderTerm {
  /** Aborts when leadership is lost or the process stops: write nothing after that. */
  readonly signal: AbortSignal;
  /** The Lease's `leaseTransitions` of this term: grows with every change of the leader, so it fences older terms. */
  readonly transitions: number;
  /**
   * Whether the Lease is held right now: its last renewal was sent less than the renew deadline ago by the boot clock, which
   * goes on while the machine sleeps. To be asked before what no former leader may do.
   */
  readonly isHeld: () => boolean;
}

export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** The Lease's name. */
  readonly name: string;
  /** Unique per process: the pod's name and uid. */
  readonly identity: string;
  /** Runs while leading; it must return soon after its signal aborts. */
  readonly lead: (term: LeaderTerm) => Promise<void>;
  /** Stops: the Lease is released after `lead` has returned, so that the standby takes over at once. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly clock?: Clock | undefined;
  readonly metrics?: Metrics | undefined;
  /** How long a silent leader is respected, default 6 s. */
  readonly leaseDurationMs?: number | undefined;
  /** When a leader that can't renew gives up, default 4 s; less than the duration. */
  readonly renewDeadlineMs?: number | undefined;
  /** Between tries, default 1 s. */
  readonly retryPeriodMs?: number | undefined;
}

/** ElectionEnd: `stopped` by the signal, `lost` to silence or another process (begin anew then: what is in memory is of the past term), `finished` when `lead` returned by itself. */
export type ElectionEnd = 'stopped' | 'lost' | 'finished';

interface Timing {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

interface Held {
  readonly lease: Lease;
  /** Monotonic time at which the request was sent: the latest moment others can have counted from. */
  readonly sentAt: number;
  /** The same by the boot clock. */
  readonly sentBootMs: number;
}

const leaseTime = (date: Date): string => date.toISOString().replace('Z', '000Z');

/** Judges by this process's monotonic clock since when the lease stands still, so that no two clocks are ever compared. */
const createObserver = (clock: Clock): { readonly isFree: (lease: Lease, fallbackMs: number) => boolean } => {
  let seen = '';
  let since = 0;
  return {
    isFree: (lease, fallbackMs) => {
      const record = `${lease.metadata.uid}/${lease.metadata.resourceVersion}`;
      if (record !== seen) {
        seen = record;
        since = clock.monotonicMs();
      }
      if (!lease.spec?.holderIdentity) return true;
      const durationMs = lease.spec.leaseDurationSeconds
        ? lease.spec.leaseDurationSeconds * 1000
        : fallbackMs;
      return clock.monotonicMs() - since >= durationMs;
    },
  };
};

/**
 * runLeaderElection competes for the Lease until the process stops or has led and lost. The leader gives up
 * `renewDeadlineMs` after it sent its last successful renewal; the others wait `leaseDurationMs` after they last saw the
 * Lease change: so two never lead at once, whatever their clocks say.
 * @throws what `lead` throws, after the Lease was released.
 */
export const runLeaderElection = async (options: LeaderElectionOptions): Promise<ElectionEnd> => {
  const { client, namespace, name, identity, lead, signal, metrics } = options;
  const clock = options.clock ?? systemClock;
  const log = options.log.child({ lease: name, identity });
  const timing: Timing = {
    leaseDurationMs: options.leaseDurationMs ?? 6000,
    renewDeadlineMs: options.renewDeadlineMs ?? 4000,
    retryPeriodMs: options.retryPeriodMs ?? 1000,
  };
  const gauge = metrics?.gauge('fluvia_leader', 'Whether this process leads.');
  const observer = createObserver(clock);
  let renewedBootMs = 0;
  const pause = (stop: AbortSignal): Promise<void> =>
    clock.sleep(timing.retryPeriodMs * (0.9 + Math.random() * 0.2), stop);

  const specNow = (transitions: number, acquireTime: string | undefined): Lease['spec'] => ({
    holderIdentity: identity,
    leaseDurationSeconds: Math.ceil(timing.leaseDurationMs / 1000),
    acquireTime: acquireTime ?? leaseTime(clock.now()),
    renewTime: leaseTime(clock.now()),
    leaseTransitions: transitions,
  });

  const tryAcquire = async (): Promise<Held | undefined> => {
    const call = { signal, timeoutMs: timing.renewDeadlineMs };
    const current = await client.get<Lease>(LEASE, name, namespace, call);
    if (current && !observer.isFree(current, timing.leaseDurationMs)) return undefined;
    const sentAt = clock.monotonicMs();
    const sentBootMs = systemBootClock();
    const spec = specNow((current?.spec?.leaseTransitions ?? 0) + 1, undefined);
    const lease = current
      ? await client.update<LeaseManifest>(LEASE, { ...current, spec }, call)
      : await client.create<LeaseManifest>(LEASE, { metadata: { name, namespace }, spec }, call);
    return { lease: lease as Lease, sentAt, sentBootMs };
  };

  const acquire = async (): Promise<Held | undefined> => {
    let quiet = false;
    while (!signal.aborted) {
      try {
        const held = await tryAcquire();
        if (held) return held;
        if (!quiet) log.info('standing by');
        quiet = true;
      } catch (err) {
        if (signal.aborted) break;
        if (!isConflict(err) && !isAlreadyExists(err))
          log.warn('could not reach for the lease: trying again', { err });
      }
      await pause(signal);
    }
    return undefined;
  };

  /** Renews until `stop` aborts (returns the newest lease) or the deadline passes (returns undefined). */
  const keep = async (first: Held, stop: AbortSignal): Promise<Lease | undefined> => {
    let held = first;
    for (;;) {
      await pause(stop);
      if (stop.aborted) return held.lease;
      const leftMs = held.sentAt + timing.renewDeadlineMs - clock.monotonicMs();
      if (leftMs <= 0) return undefined;
      try {
        held = await renew(held.lease, leftMs, stop);
        renewedBootMs = held.sentBootMs;
      } catch (err) {
        if (stop.aborted) return held.lease;
        log.warn('renewing the lease failed: trying again', { err });
        if (!isConflict(err)) continue;
        // Either another process took it, or a renewal of ours was stored whose answer never came.
        const newest = await client
          .get<Lease>(LEASE, name, namespace, { timeoutMs: leftMs })
          .catch(() => held.lease);
        if (newest?.spec?.holderIdentity !== identity) return undefined;
        held = { ...held, lease: newest };
      }
    }
  };

  const renew = async (lease: Lease, leftMs: number, stop: AbortSignal): Promise<Held> => {
    const sentAt = clock.monotonicMs();
    const sentBootMs = systemBootClock();
    const spec = specNow(lease.spec?.leaseTransitions ?? 1, lease.spec?.acquireTime);
    const call = { timeoutMs: Math.min(leftMs, timing.renewDeadlineMs / 2), signal: stop };
    const renewed = await client.update<LeaseManifest>(LEASE, { ...lease, spec }, call);
    return { lease: renewed as Lease, sentAt, sentBootMs };
  };

  const release = async (lease: Lease): Promise<void> => {
    const spec = {
      ...lease.spec,
      holderIdentity: '',
      leaseDurationSeconds: 1,
      renewTime: leaseTime(clock.now()),
    };
    try {
      // The newest version, in case a renewal was under way; a conflict means that someone else leads already.
      const newest = (await client.get<Lease>(LEASE, name, namespace, { timeoutMs: 2000 })) ?? lease;
      if (newest.spec?.holderIdentity !== identity) return;
      await client.update<LeaseManifest>(LEASE, { ...newest, spec }, { timeoutMs: 2000 });
      log.info('released the lease');
    } catch (err) {
      log.warn('releasing the lease failed: the standby takes over when it runs out', { err });
    }
  };

  const held = await acquire();
  if (!held) return 'stopped';
  renewedBootMs = held.sentBootMs;
  const transitions = held.lease.spec?.leaseTransitions ?? 1;
  log.info('leading', { transitions });
  gauge?.set(1, { lease: name });
  const lost = new AbortController();
  const finished = new AbortController();
  const termSignal = AbortSignal.any([signal, lost.signal]);
  const keeping = keep(held, AbortSignal.any([signal, finished.signal])).then(async (lease) => {
    if (!lease) {
      log.error('lost the lease');
      lost.abort(new Error(`lost the lease ${namespace}/${name}`));
      gauge?.set(0, { lease: name });
    }
    return lease;
  });
  try {
    await lead({
      signal: termSignal,
      transitions,
      isHeld: () => !termSignal.aborted && systemBootClock() - renewedBootMs < timing.renewDeadlineMs,
    });
  } finally {
    finished.abort();
    const lease = await keeping;
    gauge?.set(0, { lease: name });
    if (lease) await release(lease);
  }
  if (lost.signal.aborted) return 'lost';
  return signal.aborted ? 'stopped' : 'finished';
};
