import type { ClusterId } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Peer, PeerRole } from '../api/v1alpha1/peer.ts';
import { peeringServices } from '../proto/load.ts';
import type { JoinRequest } from '../proto/peering.ts';
import { createGrpcClient } from './grpc-client.ts';
import type { Identity } from './identity.ts';
import { exporterOf } from './keys.ts';
import { mirrorRoles } from './plan-join.ts';
import { ALPN, chooseProtocol, commonFeatures, FEATURES, LIMITS, PROTOCOL } from './protocol.ts';
import { dialPinned, type PinnedConnection } from './tls.ts';
import type { InviteToken } from './token.ts';
import { inviteKeyOfSeed, signTranscript, verifyTranscript, type Transcript } from './transcript.ts';

/** The joiner's side of a join. */

/** What a successful join has established. */
export interface Joined {
  readonly name: string;
  readonly clusterID: ClusterId;
  readonly clusterUID: string;
}

const ask = async (
  { socket, remote }: PinnedConnection,
  token: InviteToken,
  identity: Identity,
  roles: readonly PeerRole[],
): Promise<Joined> => {
  const chosenFeatures = commonFeatures(FEATURES, token.features);
  const transcript: Transcript = {
    inviteID: token.id,
    inviterPin: remote.pin,
    joinerPin: identity.pin,
    inviterClusterID: token.clusterID,
    joinerClusterID: identity.clusterID,
    inviterName: token.name,
    joinerName: identity.name,
    joinerClusterUID: identity.clusterUID,
    offeredProtocol: PROTOCOL,
    offeredFeatures: FEATURES,
    chosenProtocol: chooseProtocol(PROTOCOL, token.protocol) ?? 0,
    chosenFeatures,
    roles,
    exporter: exporterOf(socket),
  };
  const request: JoinRequest = {
    inviteId: token.id,
    name: identity.name,
    clusterUid: identity.clusterUID,
    minProtocol: PROTOCOL.min,
    maxProtocol: PROTOCOL.max,
    offeredFeatures: FEATURES,
    chosenProtocol: transcript.chosenProtocol,
    chosenFeatures,
    roles,
    inviteSignature: signTranscript('invite', transcript, inviteKeyOfSeed(token.seed)),
    identitySignature: signTranscript('joiner', transcript, identity.key),
  };
  const client = createGrpcClient(socket);
  try {
    const response = await client.unary(peeringServices().joining.Join, request, {
      deadlineMs: LIMITS.strangerMs,
    });
    if (!verifyTranscript('inviter', transcript, remote.key, response.identitySignature)) {
      throw new FluviaError(ERROR_CODES.PROTOCOL, 'the inviter has signed something else than was agreed', {
        kind: 'terminal',
      });
    }
    return { name: token.name, clusterID: token.clusterID, clusterUID: response.clusterUid.slice(0, 64) };
  } finally {
    client.destroy();
  }
};

/** Whether another endpoint, or a later try, might do better. */
const isTransient = (error: unknown): boolean =>
  error instanceof FluviaError &&
  (
    [ERROR_CODES.UNREACHABLE, ERROR_CODES.LINK_DOWN, ERROR_CODES.TIMEOUT, ERROR_CODES.INTERNAL] as string[]
  ).includes(error.code);

/**
 * Accepts an invite at the first endpoint that answers. May be repeated: the same identity gets the same answer.
 * @throws {FluviaError} UNREACHABLE when none answers, or the inviter's refusal.
 */
export const joinByToken = async (
  token: InviteToken,
  identity: Identity,
  signal: AbortSignal,
  roles: readonly PeerRole[] = token.roles,
): Promise<Joined> => {
  let last: unknown;
  for (const endpoint of token.endpoints) {
    try {
      return await ask(
        await dialPinned(endpoint, ALPN.join, [token.pin], identity, signal),
        token,
        identity,
        roles,
      );
    } catch (error) {
      if (!isTransient(error)) throw error;
      last = error;
    }
  }
  throw last instanceof Error
    ? last
    : new FluviaError(ERROR_CODES.UNREACHABLE, 'the invite names no endpoint');
};

/** The Peer that stands for the inviter at the joiner. */
export const invitingPeer = (token: InviteToken, roles: readonly PeerRole[] = token.roles): Peer => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Peer',
  metadata: { name: token.name },
  spec: {
    clusterID: token.clusterID,
    pins: [token.pin],
    endpoints: [...token.endpoints],
    roles: mirrorRoles(roles),
    inviteID: token.id,
    paused: false,
    cordoned: false,
  },
});
