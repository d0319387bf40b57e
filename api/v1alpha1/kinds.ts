import type { KindDefinition } from '../define-kind.ts';
import { ClaimKind } from './claim.ts';
import { FabricNodeKind } from './fabric-node.ts';
import { FloatPolicyKind } from './float-policy.ts';
import { GatewayKind } from './gateway.ts';
import { GrantKind, GrantPolicyKind } from './grant.ts';
import { InviteKind } from './invite.ts';
import { NamespaceOffloadingKind } from './namespace-offloading.ts';
import { NetworkConfigKind } from './network-config.ts';
import { OfferKind } from './offer.ts';
import { PeerKind } from './peer.ts';
import { ShadowPodKind } from './shadow-pod.ts';
import { ViewKind } from './view.ts';
import { VirtualNodeKind } from './virtual-node.ts';
import { VolumeReplicaKind } from './volume-replica.ts';

/** Every kind of the group, in the order in which they are installed. */
export const KINDS: readonly KindDefinition[] = [
  PeerKind,
  InviteKind,
  ClaimKind,
  GrantKind,
  GrantPolicyKind,
  VirtualNodeKind,
  NamespaceOffloadingKind,
  ShadowPodKind,
  NetworkConfigKind,
  ViewKind,
  GatewayKind,
  FabricNodeKind,
  OfferKind,
  FloatPolicyKind,
  VolumeReplicaKind,
];
