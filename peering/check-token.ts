import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Peer, PeerRole } from '../api/v1alpha1/peer.ts';
import type { Identity } from './identity.ts';
import { chooseProtocol, PROTOCOL } from './protocol.ts';
import type { InviteToken } from './token.ts';

/** Judges an invite at the joiner. Pure. */

const refuse = (
  code: (typeof ERROR_CODES)[keyof typeof ERROR_CODES],
  message: string,
  hint: string,
): FluviaError => new FluviaError(code, message, { kind: 'terminal', hint });

/**
 * Checks what can be checked without asking the inviter, before anything is dialled or written.
 * @throws {FluviaError} SAME_IDENTITY, INVITE_EXPIRED, CONFLICT, BAD_INPUT or PROTOCOL
 */
export const checkToken = (
  token: InviteToken,
  identity: Pick<Identity, 'pin' | 'name'>,
  peers: readonly Peer[],
  nowMs: number,
  roles: readonly PeerRole[] = token.roles,
): void => {
  if (token.pin === identity.pin) {
    throw refuse(
      ERROR_CODES.SAME_IDENTITY,
      'the invite is by a cluster with the same identity: a cluster can’t peer with itself',
      'check the kubeconfigs; if one cluster is a copy of the other, delete Secret fluvia-identity in the copy',
    );
  }
  if (Date.parse(token.expiresAt) <= nowMs) {
    throw refuse(
      ERROR_CODES.INVITE_EXPIRED,
      `the invite expired at ${token.expiresAt}`,
      'ask for a new invite (fluviactl invite)',
    );
  }
  const taken = peers.find(
    (peer) => peer.metadata.name === token.name && peer.spec.clusterID !== token.clusterID,
  );
  if (token.name === identity.name || taken !== undefined) {
    throw refuse(
      ERROR_CODES.CONFLICT,
      `the inviting cluster is called ${token.name}, as ${taken === undefined ? 'this cluster is' : 'another peer here'}`,
      'install one of both clusters under another name (fluviactl install --cluster-name NAME), or unpeer the other one first',
    );
  }
  const alias = peers.find(
    (peer) => peer.spec.clusterID === token.clusterID && peer.metadata.name !== token.name,
  );
  if (alias !== undefined) {
    throw refuse(
      ERROR_CODES.CONFLICT,
      `the inviting cluster is a peer already, as ${alias.metadata.name}`,
      `unpeer ${alias.metadata.name} first`,
    );
  }
  if (roles.length === 0 || !roles.every((role) => token.roles.includes(role))) {
    throw refuse(
      ERROR_CODES.BAD_INPUT,
      `the invite lets this cluster be ${token.roles.join(' and ')} to ${token.name}, not ${roles.join(' and ')}`,
      'ask for an invite with other roles',
    );
  }
  if (chooseProtocol(PROTOCOL, token.protocol) === undefined) {
    throw refuse(
      ERROR_CODES.PROTOCOL,
      'both clusters speak no common version of the protocol',
      'update the older cluster',
    );
  }
};
