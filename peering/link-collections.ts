import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';
import type { Collection } from '../api/link.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { BUDGET, createBudgets, type LinkBudget } from './budget.ts';
import { createFollower, type FollowerEnd } from './follower.ts';
import type { FollowEvent } from '../proto/peering.ts';
import { followOnce, tellProblem } from './follow-call.ts';
import type { GrpcClient } from './grpc-client.ts';
import { printable } from './grpc-errors.ts';
import { createPublisher, type PublisherEnd } from './publisher.ts';

/** What one link publishes and follows. It outlives connections: each new one resumes what the last one had. */
export interface LinkCollections {
  publisher(collection: Collection): PublisherEnd<unknown>;
  /**
   * The publisher that the peer asks for by name.
   * @throws {FluviaError} NOT_FOUND for one that this version doesn't know.
   */
  publisherNamed(name: string): { readonly end: PublisherEnd<unknown>; readonly maxItems: number };
  /** The peer says why it can't follow one of these; empty: it can. */
  followerProblem(name: string, problem: string): void;
  /** Follows the collection from now on, over whatever connection stands. */
  follower(collection: Collection): FollowerEnd<unknown>;
  /** Follows everything over a new connection, until that is gone. */
  resume(connection: CallingConnection): void;
  /** Items and collections that this side refused. */
  refused(): readonly string[];
}

/** A connection on which this side calls. */
export interface CallingConnection {
  readonly grpc: GrpcClient;
  /** Monotonic time of the last sign of life. */
  lastHeard: number;
}

export interface LinkCollectionsOptions {
  /** Those that may be asked for before anything published them. */
  readonly known: readonly Collection[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborts when this process stops to work on the link. */
  readonly signal: AbortSignal;
  /** The connection in use. */
  readonly connection: () => CallingConnection | undefined;
  /** The memory for what the peer publishes. */
  readonly budget: LinkBudget;
  /** What is refused has changed. */
  readonly onChange: () => void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

/** What happened and the next step, for a condition. */
const problemOf = (error: unknown): string =>
  error instanceof FluviaError && error.hint !== undefined
    ? `${error.message} (${error.hint})`
    : messageOf(error);

/** Makes them; nothing is followed yet. */
export const createLinkCollections = (options: LinkCollectionsOptions): LinkCollections => {
  const { known, clock, log, signal, connection, budget, onChange } = options;
  /** What this side publishes: the other side has room for so much. */
  const outgoing = createBudgets({ ...BUDGET, sharedBytes: BUDGET.linkBytes }).link();
  const publishers = new Map<
    string,
    { readonly collection: Collection; readonly end: PublisherEnd<unknown> }
  >();
  const followers = new Map<
    string,
    { readonly collection: Collection; readonly end: FollowerEnd<unknown> }
  >();
  /** Why a collection as a whole can't be followed. */
  const problems = new Map<string, string>();
  /** The same as the peer says it of what this side publishes. */
  const toldProblems = new Map<string, string>();

  const publisher = (collection: Collection): PublisherEnd<unknown> => {
    let entry = publishers.get(collection.name);
    if (entry === undefined) {
      entry = { collection, end: createPublisher<unknown>(collection, outgoing) };
      publishers.set(collection.name, entry);
    }
    return entry.end;
  };

  const keepFollowing = async (name: string, mine: CallingConnection): Promise<void> => {
    const entry = followers.get(name);
    if (entry === undefined) return;
    let refusedBefore = 0;
    /** Of this side's limits: gone only when everything was taken, not with the first item that fits. */
    let overLimit = false;
    for (let pause = FIRST_PAUSE_MS; connection() === mine && mine.grpc.isOpen();) {
      try {
        const onEvent = (event: FollowEvent): void => {
          mine.lastHeard = clock.monotonicMs();
          if (overLimit && event.complete !== true) return;
          pause = FIRST_PAUSE_MS;
          if (overLimit) void tellProblem(mine.grpc, entry.collection, '');
          overLimit = false;
          const refused = entry.end.problems().size;
          if (problems.delete(name) || refused !== refusedBefore) onChange();
          refusedBefore = refused;
        };
        const before = overLimit ? problems.get(name) : undefined;
        await followOnce(mine.grpc, entry.collection, entry.end, onEvent, before);
      } catch (error) {
        if (!mine.grpc.isOpen() || signal.aborted) return;
        if (error instanceof FluviaError && error.kind === 'stalled') pause = LONGEST_PAUSE_MS;
        const problem = problemOf(error);
        problems.set(name, problem);
        log.warn('a collection can’t be followed', { collection: name, err: error });
        onChange();
        overLimit = error instanceof FluviaError && error.code === ERROR_CODES.QUOTA_EXCEEDED;
        if (overLimit) await tellProblem(mine.grpc, entry.collection, problem);
      }
      await clock.sleep(pause * (0.75 + Math.random() / 2), signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  };

  return {
    publisher,
    publisherNamed: (name) => {
      const collection = publishers.get(name)?.collection ?? known.find((one) => one.name === name);
      if (collection === undefined) {
        const message = `${printable(name, 64)} is no collection of this version`;
        throw new FluviaError(ERROR_CODES.NOT_FOUND, message, { kind: 'stalled' });
      }
      return { end: publisher(collection), maxItems: collection.maxItems };
    },
    followerProblem: (name, problem) => {
      if (problem === '' ? !toldProblems.delete(name) : toldProblems.get(name) === printable(problem, 300))
        return;
      if (problem !== '') {
        toldProblems.set(name, printable(problem, 300));
        log.warn('the peer does not take a collection', {
          collection: name,
          problem: printable(problem, 300),
        });
      }
      onChange();
    },
    follower: (collection) => {
      let entry = followers.get(collection.name);
      if (entry === undefined) {
        const onError = (err: unknown): void =>
          log.error('a listener of a collection failed', { collection: collection.name, err });
        entry = { collection, end: createFollower(collection, onError, budget) };
        followers.set(collection.name, entry);
        const now = connection();
        if (now !== undefined) void keepFollowing(collection.name, now);
      }
      return entry.end;
    },
    resume: (mine) => {
      for (const name of followers.keys()) void keepFollowing(name, mine);
    },
    refused: () => [
      ...problems.values(),
      ...[...toldProblems].map(([name, problem]) => `The peer does not take ${name}: ${problem}`),
      ...[...followers.values()].flatMap(({ end }) => [...end.problems().values()]),
    ],
  };
};
