/**
 * Types of `peering.proto`'s messages as proto-loader gives them with {@link LOADER_OPTIONS}: camelCase, numbers for
 * 64-bit integers, Buffers for bytes, every field present (proto3 defaults) but for members of a oneof.
 */

export interface JoinRequest {
  readonly inviteId: string;
  readonly name: string;
  readonly clusterUid: string;
  readonly minProtocol: number;
  readonly maxProtocol: number;
  readonly offeredFeatures: readonly string[];
  readonly chosenProtocol: number;
  readonly chosenFeatures: readonly string[];
  readonly roles: readonly string[];
  readonly inviteSignature: Uint8Array;
  readonly identitySignature: Uint8Array;
}

export interface JoinResponse {
  readonly name: string;
  readonly clusterUid: string;
  readonly identitySignature: Uint8Array;
}

export interface HelloRequest {
  readonly clusterId: string;
  readonly name: string;
  readonly version: string;
  readonly minProtocol: number;
  readonly maxProtocol: number;
  readonly features: readonly string[];
  readonly leaderTransitions: number;
  readonly clusterUid: string;
}

export interface HelloResponse {
  readonly clusterId: string;
  readonly name: string;
  readonly version: string;
  readonly protocol: number;
  readonly features: readonly string[];
  readonly leaderTransitions: number;
  readonly clusterUid: string;
}

/** What a follower has of one item. */
export interface Have {
  readonly id: string;
  readonly hash: Uint8Array;
}

export interface FollowRequest {
  readonly collection: string;
  readonly have: readonly Have[];
  readonly ready: boolean;
  /** Missing: empty. */
  readonly problem?: string;
}

export interface Item {
  readonly id: string;
  readonly hash: Uint8Array;
  readonly json: Uint8Array;
}

/** Exactly one member is set. */
export interface FollowEvent {
  readonly set?: Item;
  readonly delete?: string;
  readonly complete?: boolean;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** Exactly one member is set. */
export interface Frame {
  readonly open?: Uint8Array;
  readonly data?: Uint8Array;
  readonly end?: boolean;
  readonly failure?: Failure;
}

/** Messages without fields. */
export type Empty = object;
