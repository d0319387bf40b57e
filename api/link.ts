import type { Duplex } from 'node:stream';
import type { z } from 'zod';

/**
 * What capabilities see of a peering: named collections of items that each side publishes and the other follows, and
 * streams to a container. Nothing here tells who dialled. Implemented by `peering/`.
 */

/** A collection that one side publishes and the other follows; `schema` is checked by the receiver for every item. */
export interface Collection<S extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly schema: S;
  /** Most items that a receiver takes; beyond it the subscription fails and the link says so. */
  readonly maxItems: number;
  /** Most bytes of one item's JSON. */
  readonly maxItemBytes: number;
  /**
   * Most bytes that all items together take at the receiver: JSON, and what it becomes when parsed (`weightOf` of `peering/`),
   * some two to four times the JSON of real objects. Room for what an honest peer has, so that no collection takes all of
   * its link's (`peering/budget.ts`). Held at both ends, as the others.
   */
  readonly maxBytes: number;
}

/** Makes a collection; `maxMiB` of {@link Collection.maxBytes}. */
export const collection = <S extends z.ZodType>(
  name: string,
  schema: S,
  maxItems: number,
  maxItemBytes: number,
  maxMiB: number,
): Collection<S> => ({ name, schema, maxItems, maxItemBytes, maxBytes: maxMiB * 1024 * 1024 });

/** Value type of a collection. */
export type ItemOf<C> = C extends Collection<infer S> ? z.infer<S> : never;

/**
 * This side's end of a collection for one peer. Kept in memory and sent as deltas when the link is up; after a break
 * only what differs is sent. A subscriber sees no deletion before `markComplete()` was called, so a publisher that
 * has just started and doesn't know everything yet deletes nothing over there.
 */
export interface Publisher<T> {
  set(id: string, item: T): void;
  delete(id: string): void;
  ids(): readonly string[];
  markComplete(): void;
}

/** What the peer publishes in a collection, as last heard; survives a break of the link. */
export interface Subscriber<T> {
  get(id: string): T | undefined;
  entries(): ReadonlyMap<string, T>;
  /** Whether everything that the peer publishes has been heard since this process started. */
  isComplete(): boolean;
  /** Called with the id of each item that changed or went, and with undefined when `isComplete` turned true. */
  onChange(listener: (id: string | undefined) => void): () => void;
}

/** A request to a container at the peer: the query and upgrade headers of the kubelet API's request. */
export interface ContainerStreamRequest {
  readonly verb: 'logs' | 'exec' | 'attach' | 'portForward';
  /** Namespace and name of the pod at home. */
  readonly namespace: string;
  readonly pod: string;
  readonly podUID: string;
  readonly container?: string;
  readonly query: Readonly<Record<string, readonly string[]>>;
  /** Only upgrade and stream-protocol headers travel. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The answer: an HTTP status and headers, then bytes both ways (for `logs` only towards the caller). */
export interface ContainerStreamResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Duplex;
}

/** A peering as capabilities use it. Valid while its Peer object exists; `signal` aborts when it is gone. */
export interface PeerLink {
  /** Name of the Peer object here. */
  readonly peer: string;
  readonly clusterID: string;
  readonly signal: AbortSignal;
  isUp(): boolean;
  /** Milliseconds (monotonic) since the peer last answered; Infinity before it ever did. */
  silenceMs(): number;
  onStateChange(listener: () => void): () => void;
  /** The same object for the same collection. */
  publish<S extends z.ZodType>(collection: Collection<S>): Publisher<z.infer<S>>;
  follow<S extends z.ZodType>(collection: Collection<S>): Subscriber<z.infer<S>>;
  openContainerStream(request: ContainerStreamRequest, signal: AbortSignal): Promise<ContainerStreamResponse>;
}

/** Serves {@link ContainerStreamRequest}s of a peer; refuses by throwing a FluviaError. */
export type ContainerStreamHandler = (
  link: PeerLink,
  request: ContainerStreamRequest,
  signal: AbortSignal,
) => Promise<ContainerStreamResponse>;

/** All peerings of this cluster. */
export interface Links {
  get(peer: string): PeerLink | undefined;
  list(): readonly PeerLink[];
  /** Called for every present and future link; returns the way to stop. */
  onLink(listener: (link: PeerLink) => void): () => void;
  handleContainerStreams(handler: ContainerStreamHandler): void;
}
