/** Leader election by a Lease. */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { KubeClient } from './client.ts';

/** LeaderTerm is one uninterrupted leadership. */
export interface LeaderTerm {
  /** Aborts when leadership is lost or the process stops: write nothing after that. */
  readonly signal: AbortSignal;
  /** The Lease's `leaseTransitions` of this term: grows with every change of the leader, so it fences older terms. */
  readonly transitions: number;
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

/** ElectionEnd: `stopped` by the signal, `lost` to silence or another process (exit then), `finished` when `lead` returned by itself. */
export type ElectionEnd = 'stopped' | 'lost' | 'finished';

/** runLeaderElection competes for the Lease until the process stops or has led and lost. */
export declare const runLeaderElection: (options: LeaderElectionOptions) => Promise<ElectionEnd>;
