import type { Collection } from '../api/link.ts';
import { peeringServices } from '../proto/load.ts';
import type { FollowerEnd } from './follower.ts';
import type { GrpcClient } from './grpc-client.ts';
import { LIMITS } from './protocol.ts';

/**
 * Follows one collection over one connection until it breaks; resolves when the peer ends it. `onEvent` is called for every
 * event that came.
 * @throws {FluviaError} why it ended.
 */
export const followOnce = async (
  client: GrpcClient,
  collection: Collection,
  follower: FollowerEnd<unknown>,
  onEvent: () => void,
): Promise<void> => {
  const call = client.stream(peeringServices().fabric.Follow);
  const have = [...follower.have()].map(([id, hash]) => ({ id, hash: Buffer.from(hash, 'hex') }));
  const tellHave = async (): Promise<void> => {
    for (let at = 0; at < have.length; at += LIMITS.haveChunk) {
      const chunk = have.slice(at, at + LIMITS.haveChunk);
      await call.write({ collection: collection.name, have: chunk, ready: false });
    }
    await call.write({ collection: collection.name, have: [], ready: true });
    call.end();
  };
  // A failed write ends the call, and the loop below says why.
  tellHave().catch(() => call.cancel());
  try {
    for await (const event of call) {
      follower.apply(event);
      onEvent();
    }
  } finally {
    call.cancel();
  }
};
