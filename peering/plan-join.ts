import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Invite } from '../api/v1alpha1/invite.ts';
import type { Peer, PeerRole } from '../api/v1alpha1/peer.ts';

/** Judges a join at the inviter. Pure. */

/** Who wants to join, as proven by the connection and the signatures. */
export interface JoinFacts {
  readonly inviteID: string;
  readonly pin: string;
  readonly clusterID: string;
  readonly name: string;
  readonly roles: readonly PeerRole[];
}

export interface JoinWorld {
  readonly invite: Invite | undefined;
  readonly peers: readonly Peer[];
  readonly own: { readonly pin: string; readonly name: string };
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** What to do: record the joiner in the Invite first, write its Peer, or only give the answer once more. */
export interface JoinPlan {
  readonly record: boolean;
  /** Whether its Peer is to be made, or changed to what the invite says; else the Peer is the truth and stays as it is. */
  readonly write: boolean;
  /** The Peer that stands for the joiner already. */
  readonly existing: Peer | undefined;
}

const refuse = (
  code: (typeof ERROR_CODES)[keyof typeof ERROR_CODES],
  message: string,
  hint: string,
): FluviaError => new FluviaError(code, message, { kind: 'terminal', hint });

/** What the inviter is to the joiner, if the joiner is `roles` to the inviter. */
export const mirrorRoles = (roles: readonly PeerRole[]): PeerRole[] =>
  roles.map((role) => (role === 'Consumer' ? 'Provider' : 'Consumer'));

/** For so long a recorded joiner may still get its Peer: either side may have died in between. */
const RETRY_MS = 10 * 60_000;

/** A joiner that came before may ask again, but not for more than its Peer has: that is the administrator's to change. */
const refuseMore = (roles: readonly PeerRole[], { metadata, spec }: Peer): void => {
  if (roles.every((role) => spec.roles.includes(role))) return;
  throw refuse(
    ERROR_CODES.INVITE_INVALID,
    `this cluster has joined already, as ${spec.roles.join(' and ')}, not as ${roles.join(' and ')}`,
    `change spec.roles of Peer ${metadata.name} at the inviting cluster, or ask for a new invite (fluviactl invite)`,
  );
};

const ANOTHER = 'ask for a new invite (fluviactl invite)';

const gone = (): FluviaError =>
  refuse(
    ERROR_CODES.INVITE_INVALID,
    'the inviting cluster has no such invite: it was used up or revoked',
    ANOTHER,
  );

/**
 * Decides whether a joiner whose signatures are right may come in.
 * @throws {FluviaError} with the reason for which it may not.
 */
export const planJoin = (facts: JoinFacts, world: JoinWorld): JoinPlan => {
  const { invite, peers, own, nowMs } = world;
  if (facts.pin === own.pin) {
    throw refuse(
      ERROR_CODES.SAME_IDENTITY,
      'both clusters have the same identity: a cluster can’t peer with itself',
      'check the kubeconfigs; if one cluster is a copy of the other, delete Secret fluvia-identity in the copy',
    );
  }
  const existing = peers.find((peer) => peer.spec.clusterID === facts.clusterID);
  // A retry after the used-up Invite was deleted: its Peer tells by which invite it came.
  const isRetry = existing?.spec.inviteID === facts.inviteID && existing.spec.pins.includes(facts.pin);
  // Before anything is said of names: who has no invite must not learn whom this cluster is peered with.
  if (invite === undefined && !isRetry) {
    if (peers.some((peer) => peer.spec.inviteID === facts.inviteID)) {
      throw refuse(ERROR_CODES.INVITE_USED, 'the invite was used by another cluster', ANOTHER);
    }
    throw gone();
  }
  const sameName = peers.find((peer) => peer.metadata.name === facts.name);
  if (facts.name === own.name || (sameName !== undefined && sameName !== existing)) {
    throw refuse(
      ERROR_CODES.CONFLICT,
      `the name ${facts.name} is taken: ${facts.name === own.name ? 'the inviting cluster has it itself' : 'another peer of the inviting cluster has it'}`,
      'install one of both clusters under another name (fluviactl install --cluster-name NAME), or unpeer the other one first',
    );
  }
  if (existing !== undefined && existing.metadata.name !== facts.name) {
    throw refuse(
      ERROR_CODES.CONFLICT,
      `the inviting cluster knows this cluster as ${existing.metadata.name} already`,
      `unpeer ${existing.metadata.name} there, then join again`,
    );
  }
  if (existing !== undefined && existing.metadata.deletionTimestamp !== undefined) {
    throw new FluviaError(ERROR_CODES.CONFLICT, 'the inviting cluster is still ending the peering before', {
      kind: 'waiting',
      hint: 'try again in a few seconds',
    });
  }
  const use = invite?.spec.usedBy.find((u) => u.pin === facts.pin && u.clusterID === facts.clusterID);
  if (existing !== undefined && isRetry && (invite === undefined || use !== undefined)) {
    refuseMore(facts.roles, existing);
    return { record: false, write: false, existing };
  }
  if (invite === undefined) throw gone();
  if (!facts.roles.every((role) => invite.spec.roles.includes(role)) || facts.roles.length === 0) {
    throw refuse(
      ERROR_CODES.INVITE_INVALID,
      `the invite is for ${invite.spec.roles.join(' and ')}, not for ${facts.roles.join(' and ')}`,
      ANOTHER,
    );
  }
  if (use !== undefined) {
    if (nowMs - Date.parse(use.usedAt) <= RETRY_MS) return { record: false, write: true, existing };
    // Its Peer was removed, or came by another invite since: what this one allowed is over.
    throw refuse(ERROR_CODES.INVITE_USED, 'this cluster used the invite already', ANOTHER);
  }
  if (Date.parse(invite.spec.expiresAt) <= nowMs) {
    throw refuse(ERROR_CODES.INVITE_EXPIRED, `the invite expired at ${invite.spec.expiresAt}`, ANOTHER);
  }
  if (invite.spec.usedBy.length >= invite.spec.uses) {
    throw refuse(ERROR_CODES.INVITE_USED, 'the invite was used already', ANOTHER);
  }
  return { record: true, write: true, existing };
};
