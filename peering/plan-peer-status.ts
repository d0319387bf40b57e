import { setCondition, type Condition, type ConditionInput } from '../api/conditions.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';

/** What a Peer's status says of its link. Pure. */

/** The link as observed. */
export interface ObservedLink {
  readonly up: boolean;
  /** RFC 3339. */
  readonly since: string;
  readonly lastHeardAt: string | undefined;
  readonly rttMs: number | undefined;
  readonly problem: string | undefined;
  readonly refused: readonly string[];
  readonly facts:
    | {
        readonly version: string;
        readonly features: readonly string[];
        readonly leaderTransitions: number;
        readonly clusterUID: string;
      }
    | undefined;
}

/** The fields that peering writes: SSA leaves the other conditions to their owners. */
export type PeerLinkStatus = NonNullable<Peer['status']>;

/** Types of the conditions that peering owns. */
export const OWN_CONDITIONS = ['LinkReady', 'ItemsValid', 'Ready'] as const;

const linkCondition = (peer: Peer, link: ObservedLink): ConditionInput => {
  const base = { type: 'LinkReady' } as const;
  if (peer.spec.paused) {
    return {
      ...base,
      status: 'False',
      reason: 'Paused',
      message: 'The peering is paused; nothing crosses it.',
    };
  }
  if (link.up) {
    return { ...base, status: 'True', reason: 'Connected', message: 'Both clusters answer each other.' };
  }
  const who = peer.metadata.name;
  if (link.problem !== undefined) {
    return {
      ...base,
      status: 'False',
      reason: 'Disconnected',
      message: `No link to ${who}: ${link.problem}`,
    };
  }
  const message =
    peer.spec.endpoints.length > 0
      ? `Connecting to ${peer.spec.endpoints.join(', ')}.`
      : `Waiting until ${who} connects: it is the side that dials.`;
  return { ...base, status: 'False', reason: 'Connecting', message };
};

const itemsCondition = (link: ObservedLink): ConditionInput => {
  const [first, ...more] = link.refused;
  return first === undefined
    ? { type: 'ItemsValid', status: 'True', reason: 'Valid', message: 'All that the peer sent is valid.' }
    : {
        type: 'ItemsValid',
        status: 'False',
        reason: 'Refused',
        message: more.length === 0 ? first : `${first} (and ${more.length} more)`,
      };
};

const readyCondition = (peer: Peer, link: ConditionInput): ConditionInput => {
  if (link.status !== 'True') return { ...link, type: 'Ready' };
  const network = peer.status?.conditions?.find((c) => c.type === 'NetworkReady');
  if (network !== undefined && network.status !== 'True') {
    return { type: 'Ready', status: 'False', reason: 'NetworkNotReady', message: network.message };
  }
  const message = network === undefined ? 'The link is up.' : 'The link is up and the network is connected.';
  return { type: 'Ready', status: 'True', reason: 'Ready', message };
};

/** The status that says what is observed; `now` is RFC 3339. Equal observations give an equal status. */
export const planPeerStatus = (
  peer: Peer,
  link: ObservedLink,
  fingerprint: string,
  now: string,
): PeerLinkStatus => {
  const before = peer.status;
  const own = before?.conditions?.filter((c) => (OWN_CONDITIONS as readonly string[]).includes(c.type));
  const ready = linkCondition(peer, link);
  const conditions = [ready, itemsCondition(link), readyCondition(peer, ready)].reduce<Condition[]>(
    (all, input) => setCondition(all, input, now),
    own ?? [],
  );
  const wasUp = before?.link?.state === 'Up';
  // The time of the last answer is written when the link goes down, so that an idle link writes nothing.
  const lastHeardAt = link.up || !wasUp ? before?.link?.lastHeardAt : link.lastHeardAt;
  const rtt =
    link.up && !wasUp && link.rttMs !== undefined
      ? Math.round(link.rttMs * 10) / 10
      : before?.link?.rttMilliseconds;
  const clusterUID = link.facts?.clusterUID ?? before?.clusterUID;
  const term = Math.max(before?.leaderTransitions ?? 0, link.facts?.leaderTransitions ?? 0);
  const version = link.facts?.version ?? before?.link?.version;
  const features = link.facts === undefined ? before?.link?.features : [...link.facts.features];
  return {
    link: {
      state: peer.spec.paused ? 'Paused' : link.up ? 'Up' : 'Down',
      since: link.since,
      ...(lastHeardAt === undefined ? {} : { lastHeardAt }),
      ...(version === undefined ? {} : { version }),
      ...(features === undefined ? {} : { features }),
      ...(rtt === undefined ? {} : { rttMilliseconds: rtt }),
    },
    ...(clusterUID === undefined ? {} : { clusterUID }),
    leaderTransitions: term,
    fingerprint,
    conditions,
  };
};

/** The part of a status that {@link planPeerStatus} would write, to tell whether anything changed. */
export const ownPeerStatus = (status: Peer['status']): PeerLinkStatus | undefined =>
  status === undefined
    ? undefined
    : {
        ...status,
        conditions: (status.conditions ?? [])
          .filter((c) => (OWN_CONDITIONS as readonly string[]).includes(c.type))
          .sort((a, b) => (a.type < b.type ? -1 : 1)),
      };

/** Whether the peer's kube-system is another than before: its identity was copied, or the cluster was restored. */
export const isClone = (peer: Peer, link: ObservedLink): boolean =>
  peer.status?.clusterUID !== undefined &&
  link.facts !== undefined &&
  link.facts.clusterUID !== peer.status.clusterUID;
