import type { Invite } from '../api/v1alpha1/invite.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';

/** Expired Invites stay this long, so that a late joiner reads "expired" instead of "unknown". */
const GRACE_MS = 10 * 60_000;

/** What to do with an Invite: delete it now, or look again later. */
export type InvitePlan = { readonly delete: true } | { readonly delete: false; readonly againMs: number };

/**
 * An Invite goes once it is used up and every joiner has its Peer (before that a joiner's retry still needs it), or some time
 * after it expired. Pure; `nowMs` since the epoch.
 */
export const planInvite = (invite: Invite, peers: readonly Peer[], nowMs: number): InvitePlan => {
  const { uses, usedBy, expiresAt } = invite.spec;
  const hasPeer = usedBy.every((joiner) => peers.some((peer) => peer.spec.clusterID === joiner.clusterID));
  if (usedBy.length >= uses && hasPeer) return { delete: true };
  const expires = Date.parse(expiresAt);
  const end = (Number.isFinite(expires) ? expires : 0) + GRACE_MS;
  return nowMs >= end
    ? { delete: true }
    : { delete: false, againMs: Math.min(end - nowMs + 1000, 3_600_000) };
};
