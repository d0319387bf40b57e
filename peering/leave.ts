import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import { peeringServices } from '../proto/load.ts';
import type { Logger } from '../runtime/log.ts';
import { createGrpcClient } from './grpc-client.ts';
import { sayHello } from './hello.ts';
import type { Identity } from './identity.ts';
import { ALPN } from './protocol.ts';
import { createLinkTerm, type Term } from './term.ts';
import { dialPinned } from './tls.ts';

/** Longest that unpeering waits for one endpoint of a peer that may be dead. */
const PATIENCE_MS = 4000;

/**
 * Tells a peer whose link is down that the peering has ended, on a connection of its own. Best effort: false when it could
 * not be told.
 */
export const leaveByDialling = async (
  peer: Peer,
  identity: Identity,
  term: Term,
  log: Logger,
  signal: AbortSignal,
): Promise<boolean> => {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  for (const endpoint of peer.spec.endpoints) {
    try {
      const { socket } = await dialPinned(endpoint, ALPN.call, peer.spec.pins, identity, limit);
      const client = createGrpcClient(socket);
      try {
        await sayHello(client, identity, createLinkTerm(term), { signal: limit });
        await client.unary(peeringServices().fabric.Leave, {}, { signal: limit });
        return true;
      } finally {
        client.destroy();
      }
    } catch (err) {
      if (err instanceof FluviaError && err.code === ERROR_CODES.NOT_PEERED) return true;
      log.info('the peer could not be told of the end of the peering', {
        peer: peer.metadata.name,
        endpoint,
        err,
      });
    }
  }
  return false;
};
