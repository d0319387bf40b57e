import type { Socket } from 'node:net';
import type { PeerLink } from '../api/link.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';

/** A link as `peering/` itself sees it. */

/** What the peer said of itself at the last Hello. */
export interface PeerFacts {
  readonly name: string;
  readonly version: string;
  readonly protocol: number;
  readonly features: readonly string[];
  readonly leaderTransitions: number;
  readonly clusterUID: string;
}

/** State of a link for its Peer's status. */
export interface LinkSnapshot {
  readonly up: boolean;
  /** Wall time of the last change between up and down. */
  readonly since: Date;
  readonly lastHeardAt: Date | undefined;
  readonly rttMs: number | undefined;
  readonly facts: PeerFacts | undefined;
  /** Why the link is down. */
  readonly problem: string | undefined;
  /** Items or collections that this side refused. */
  readonly refused: readonly string[];
  /** About what the peer's items take here. */
  readonly heldBytes: number;
}

/** A link with the ends that `peering/` itself uses. */
export interface LinkEnd extends PeerLink {
  /** Takes a connection on which this side calls; resolves when the connection is gone. */
  attachClient(socket: Socket): Promise<void>;
  /** Takes a connection on which this side serves. */
  attachServer(socket: Socket): void;
  snapshot(): LinkSnapshot;
  /** The newest Peer object. */
  update(peer: Peer): void;
  /** Cuts both connections; they may be made anew. */
  disconnect(why: string): void;
  /** A try to dial failed; shown as the link's problem. */
  dialFailed(error: unknown): void;
  /** Tells the peer that this side ends the peering; whether it heard. */
  leave(): Promise<boolean>;
  /** Stops to work on it because this process stops: the peering itself stays, `signal` doesn't abort. */
  stop(): void;
  /** Ends the link for good. */
  close(): void;
}
