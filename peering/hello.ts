import { peeringServices } from '../proto/load.ts';
import type { HelloRequest, HelloResponse } from '../proto/peering.ts';
import type { GrpcClient } from './grpc-client.ts';
import type { Identity } from './identity.ts';
import { BUILD_VERSION, FEATURES, PROTOCOL } from './protocol.ts';
import { TermOverError, type LinkTerm } from './term.ts';

/** What this cluster says of itself, first of all on a connection. */
export const helloRequest = (identity: Identity, term: LinkTerm): HelloRequest => ({
  clusterId: identity.clusterID,
  name: identity.name,
  version: BUILD_VERSION,
  minProtocol: PROTOCOL.min,
  maxProtocol: PROTOCOL.max,
  features: FEATURES,
  leaderTransitions: term.current(),
  clusterUid: identity.clusterUID,
});

/**
 * Says Hello, and once more with a higher leader term where the peer remembers one; `onRaise` is told which it has seen.
 * Throws the peer's refusal.
 */
export const sayHello = async (
  client: GrpcClient,
  identity: Identity,
  term: LinkTerm,
  options: Parameters<GrpcClient['unary']>[2],
  onRaise: (seen: number) => void = () => {},
): Promise<HelloResponse> => {
  const ask = (): Promise<HelloResponse> =>
    client.unary(peeringServices().fabric.Hello, helloRequest(identity, term), options);
  try {
    return await ask();
  } catch (error) {
    // Once: a peer that always knows a higher one would have us ask without end.
    if (!(error instanceof TermOverError) || !term.raiseAbove(error.seen)) throw error;
    onRaise(error.seen);
    return ask();
  }
};
