import type { Collection } from '../api/link.ts';
import { peeringServices } from '../proto/load.ts';
import type { FollowEvent } from '../proto/peering.ts';
import type { FollowerEnd } from './follower.ts';
import type { GrpcClient } from './grpc-client.ts';
import { LIMITS } from './protocol.ts';

/**
 * Follows one collection over one connection until it breaks; resolves when the peer ends it. `onEvent` is called for every
 * event that came. `problem`: why the last try was ended here, which the peer shows until it hears otherwise.
 * @throws {FluviaError} why it ended.
 */
export const followOnce = async (
  client: GrpcClient,
  collection: Collection,
  follower: FollowerEnd<unknown>,
  onEvent: (event: FollowEvent) => void,
  problem = '',
): Promise<void> => {
  const call = client.stream(peeringServices().fabric.Follow);
  const have = [...follower.have()].map(([id, hash]) => ({ id, hash: Buffer.from(hash, 'hex') }));
  const tellHave = async (): Promise<void> => {
    for (let at = 0; at < have.length; at += LIMITS.haveChunk) {
      const chunk = have.slice(at, at + LIMITS.haveChunk);
      await call.write({ collection: collection.name, have: chunk, ready: false, problem });
    }
    await call.write({ collection: collection.name, have: [], ready: true, problem });
    call.end();
  };
  // A failed write ends the call, and the loop below says why.
  tellHave().catch(() => call.cancel());
  try {
    for await (const event of call) {
      follower.apply(event);
      onEvent(event);
    }
  } finally {
    call.cancel();
  }
};

/** Tells the peer what stands in the way of following its collection; empty: nothing does. Best effort. */
export const tellProblem = async (
  client: GrpcClient,
  collection: Collection,
  problem: string,
): Promise<void> => {
  const call = client.stream(peeringServices().fabric.Follow, { deadlineMs: LIMITS.callMs });
  try {
    await call.write({ collection: collection.name, have: [], ready: false, problem });
    call.end();
    await call[Symbol.asyncIterator]().next();
  } catch {
    // It always ends with an error, since nothing is followed. The next try to follow tells the problem again.
  } finally {
    call.cancel();
  }
};
