import { fluviaResource } from '../runtime/kube/resources.ts';

/** Fluvia's kinds that peering reads and writes. */
export const PEER = fluviaResource('Peer', 'peers', false);
export const INVITE = fluviaResource('Invite', 'invites', false);
export const CLAIM = fluviaResource('Claim', 'claims', false);
export const GRANT = fluviaResource('Grant', 'grants', false);
export const GRANT_POLICY = fluviaResource('GrantPolicy', 'grantpolicies', false);
export const VIRTUAL_NODE = fluviaResource('VirtualNode', 'virtualnodes', false);

/** Owner of the fields that peering writes. */
export const FIELD_MANAGER = 'fluvia-peering';
