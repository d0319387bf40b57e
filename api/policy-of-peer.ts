import type { GrantPolicy } from './v1alpha1/grant.ts';

/**
 * The one GrantPolicy that holds for a peer: the first by name that names it, else the one named `default` if it names
 * nobody. Undefined when there is none: then the built-in rules hold. Policies are never mixed, so that what holds can be
 * read from one object. `peer` is the Peer's name; undefined for a cluster without a Peer.
 */
export const policyOfPeer = (
  policies: readonly GrantPolicy[],
  peer: string | undefined,
): GrantPolicy | undefined =>
  firstByName(policies.filter(({ spec }) => peer !== undefined && spec.peers?.includes(peer) === true)) ??
  policies.find(({ metadata, spec }) => metadata.name === 'default' && spec.peers === undefined);

const firstByName = (policies: readonly GrantPolicy[]): GrantPolicy | undefined =>
  policies.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))[0];
