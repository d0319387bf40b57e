/** Version of the protocol between clusters, and every limit that is set on it. */

/** Protocol versions that this build speaks. */
export const PROTOCOL = { min: 1, max: 1 } as const;

/** Optional abilities of this build; both sides use those that both have. */
export const FEATURES: readonly string[] = ['container-streams'];

/** Version of this build, as told to peers. */
export const BUILD_VERSION = '0.1.0';

/** Application protocols (RFC 7301) of the listener: who serves on a connection, whoever dialled it. */
export const ALPN = {
  /** Without a pin; the dialler calls Joining. */
  join: 'fluvia-join/1',
  /** The dialler calls, the listener serves. */
  call: 'fluvia-call/1',
  /** The listener calls, the dialler serves. */
  serve: 'fluvia-serve/1',
} as const;

/** Bounds; bytes and milliseconds. Stock gRPC has none of them. */
export const LIMITS = {
  /** One gRPC message; the largest item (1.5 MiB) fits. */
  messageBytes: 4 * 1024 * 1024,
  /** One request on a connection that has shown no pin. */
  joinMessageBytes: 16 * 1024,
  /** Frames of container streams are cut to this. */
  frameBytes: 64 * 1024,
  /** Calls at once on one connection. */
  streams: 512,
  /** HTTP/2 session memory, in MiB (a unit of node:http2). */
  sessionMemoryMiB: 64,
  /** Connections being handshaken, and ones without a pin, at once. */
  handshakes: 64,
  strangers: 16,
  /** Connections of all peers at once. */
  connections: 4096,
  handshakeMs: 10_000,
  /** Longest try to reach one endpoint; a dead leader's address may swallow packets. */
  dialMs: 4000,
  /** Longest life of a connection without a pin. */
  strangerMs: 20_000,
  callMs: 10_000,
  /** Questions to the API server on behalf of strangers, per second. */
  strangerAsksPerSecond: 10,
  pingEveryMs: 2000,
  /** Silence after which a link is Down. */
  silenceMs: 6000,
  keepaliveMs: 10_000,
  keepaliveTimeoutMs: 10_000,
  /** Entries of one FollowRequest. */
  haveChunk: 500,
  idLength: 700,
  hashBytes: 64,
  /** What all followers on one connection may say that they have; three full collections of pods and objects fit. */
  haveBytes: 24 * 1024 * 1024,
  jsonDepth: 64,
} as const;

/** The newest version that both speak; undefined when there is none. */
export const chooseProtocol = (
  a: { readonly min: number; readonly max: number },
  b: { readonly min: number; readonly max: number },
): number | undefined => {
  const version = Math.min(a.max, b.max);
  return version >= Math.max(a.min, b.min) ? version : undefined;
};

/** What both have, sorted. */
export const commonFeatures = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set(a)].filter((feature) => b.includes(feature)).sort();
