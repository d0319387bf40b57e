import type { TLSSocket } from 'node:tls';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { z } from 'zod';
import { DnsLabel } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { FINALIZERS } from '../api/labels.ts';
import type { Invite } from '../api/v1alpha1/invite.ts';
import { PeerRole, type Peer } from '../api/v1alpha1/peer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { retryOnConflict } from '../runtime/kube/apply.ts';
import { isAlreadyExists, isConflict } from '../runtime/kube/errors.ts';
import type { Logger } from '../runtime/log.ts';
import type { JoinRequest, JoinResponse } from '../proto/peering.ts';
import { toServiceError } from './grpc-errors.ts';
import type { Identity } from './identity.ts';
import { clusterIdOfPin, exporterOf, type RemoteKey } from './keys.ts';
import { planJoin, type JoinFacts, type JoinPlan } from './plan-join.ts';
import { chooseProtocol, FEATURES, PROTOCOL } from './protocol.ts';
import { INVITE, PEER } from './resources.ts';
import { InviteId } from './token.ts';
import { publicKeyOfRaw, signTranscript, verifyTranscript, type Transcript } from './transcript.ts';

/** The inviter's side of a join. */

/** Makes the implementation of `Joining` for one connection. */
export type JoinHandler = (socket: TLSSocket, remote: RemoteKey) => object;

export interface JoinServerOptions {
  readonly client: KubeClient;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Logger;
  /** Throws when strangers ask too often. */
  readonly mayAsk: () => void;
  /** Called with the joiner's Peer before the joiner is answered, so that it can dial at once. */
  readonly onPeer: (peer: Peer) => void;
}

const Request = z.object({
  inviteId: InviteId,
  name: DnsLabel,
  clusterUid: z.string().max(64),
  minProtocol: z.number().int(),
  maxProtocol: z.number().int(),
  offeredFeatures: z.array(z.string().max(64)).max(64),
  chosenProtocol: z.number().int(),
  chosenFeatures: z.array(z.string().max(64)).max(64),
  roles: z.array(PeerRole).min(1).max(2),
  inviteSignature: z.instanceof(Uint8Array),
  identitySignature: z.instanceof(Uint8Array),
});
type Request = z.infer<typeof Request>;

const badRequest = (why: string): FluviaError =>
  new FluviaError(ERROR_CODES.INVITE_INVALID, `the request to join is not valid: ${why}`, {
    kind: 'terminal',
    hint: 'copy the whole invite again; it works with this version of Fluvia or a newer one only',
  });

/** The Peer that stands for a joiner at the inviter. */
export const joinedPeer = (facts: JoinFacts): Peer => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Peer',
  metadata: { name: facts.name, finalizers: [FINALIZERS.cleanup] },
  spec: {
    clusterID: facts.clusterID,
    pins: [facts.pin],
    endpoints: [],
    roles: [...facts.roles],
    inviteID: facts.inviteID,
    paused: false,
    cordoned: false,
  },
});

/** Makes the inviter's handler. */
export const createJoinHandler = (options: JoinServerOptions): JoinHandler => {
  const { client, identity, clock, log, mayAsk, onPeer } = options;

  const record = async (invite: Invite, facts: JoinFacts): Promise<Invite> => {
    const { clusterID, pin, name } = facts;
    const usedBy = [...invite.spec.usedBy, { clusterID, pin, name, usedAt: clock.now().toISOString() }];
    // The resourceVersion makes it one conditional update: of two joiners with one use left, one gets a conflict.
    return client.update<Invite>(INVITE, { ...invite, spec: { ...invite.spec, usedBy } });
  };

  /** Reads, judges and records until no other joiner comes in between. */
  const admit = (
    facts: JoinFacts,
    verify: (invite: Invite) => void,
  ): Promise<JoinPlan & { readonly invite: Invite | undefined }> =>
    retryOnConflict(async () => {
      const invite = await client.get<Invite>(INVITE, facts.inviteID);
      const { items: peers } = await client.list<Peer>(PEER);
      if (invite !== undefined) verify(invite);
      const plan = planJoin(facts, { invite, peers, own: identity, nowMs: clock.now().getTime() });
      return { ...plan, invite: plan.record && invite !== undefined ? await record(invite, facts) : invite };
    });

  const writePeer = async (facts: JoinFacts, existing: Peer | undefined): Promise<Peer> => {
    const wanted = joinedPeer(facts);
    if (existing !== undefined) {
      const { pins, roles, inviteID } = wanted.spec;
      return client.patch<Peer>(
        PEER,
        facts.name,
        undefined,
        { spec: { pins, roles, inviteID } },
        { type: 'merge' },
      );
    }
    try {
      return await client.create<Peer>(PEER, wanted);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const there = await client.get<Peer>(PEER, facts.name);
      if (there?.spec.clusterID === facts.clusterID) return there;
      throw new FluviaError(ERROR_CODES.CONFLICT, `the name ${facts.name} is taken by another peer`, {
        kind: 'terminal',
        hint: 'install one of both clusters under another name (fluviactl install --cluster-name NAME)',
      });
    }
  };

  const dropUsedUp = async (invite: Invite): Promise<void> => {
    if (invite.spec.usedBy.length < invite.spec.uses) return;
    const { uid, resourceVersion } = invite.metadata;
    await client
      .delete(INVITE, invite.metadata.name, undefined, { uid, resourceVersion })
      .catch((error: unknown) => {
        // Someone changed it meanwhile; the invite controller looks again.
        if (!isConflict(error)) throw error;
      });
  };

  const transcriptOf = (request: Request, socket: TLSSocket, pin: string): Transcript => ({
    inviteID: request.inviteId,
    inviterPin: identity.pin,
    joinerPin: pin,
    inviterClusterID: identity.clusterID,
    joinerClusterID: clusterIdOfPin(pin),
    inviterName: identity.name,
    joinerName: request.name,
    joinerClusterUID: request.clusterUid,
    offeredProtocol: { min: request.minProtocol, max: request.maxProtocol },
    offeredFeatures: request.offeredFeatures,
    chosenProtocol: request.chosenProtocol,
    chosenFeatures: request.chosenFeatures,
    roles: request.roles,
    exporter: exporterOf(socket),
  });

  const join = async (raw: JoinRequest, socket: TLSSocket, remote: RemoteKey): Promise<JoinResponse> => {
    const parsed = Request.safeParse(raw);
    if (!parsed.success) throw badRequest(parsed.error.issues[0]?.path.join('.') ?? 'malformed');
    const request = parsed.data;
    const transcript = transcriptOf(request, socket, remote.pin);
    if (!verifyTranscript('joiner', transcript, remote.key, request.identitySignature)) {
      throw badRequest('its signature is not by the key of the connection');
    }
    const offered = { min: request.minProtocol, max: request.maxProtocol };
    if (
      chooseProtocol(PROTOCOL, offered) !== request.chosenProtocol ||
      !request.chosenFeatures.every((f) => FEATURES.includes(f) && request.offeredFeatures.includes(f))
    ) {
      throw badRequest('the versions of both clusters have nothing in common');
    }
    const facts: JoinFacts = {
      inviteID: request.inviteId,
      pin: remote.pin,
      clusterID: clusterIdOfPin(remote.pin),
      name: request.name,
      roles: request.roles,
    };
    const verify = (invite: Invite): void => {
      const key = publicKeyOfRaw(invite.spec.publicKey);
      if (key === undefined || !verifyTranscript('invite', transcript, key, request.inviteSignature)) {
        throw badRequest('it is not signed with the invite’s key');
      }
    };
    mayAsk();
    const { invite, existing, write } = await admit(facts, verify);
    onPeer(existing !== undefined && !write ? existing : await writePeer(facts, existing));
    if (invite !== undefined) await dropUsedUp(invite);
    log.info('a cluster has joined', {
      peer: facts.name,
      clusterID: facts.clusterID,
      invite: facts.inviteID,
    });
    return {
      name: identity.name,
      clusterUid: identity.clusterUID,
      identitySignature: signTranscript('inviter', transcript, identity.key),
    };
  };

  return (socket, remote) => ({
    Join: (call: ServerUnaryCall<JoinRequest, JoinResponse>, callback: sendUnaryData<JoinResponse>): void => {
      join(call.request, socket, remote).then(
        (response) => callback(null, response),
        (err: unknown) => {
          log.info('a join was refused', { invite: call.request.inviteId.slice(0, 63), err });
          callback(toServiceError(err));
        },
      );
    },
  });
};
