/** Which namespace of this cluster stands for a namespace of a consumer, and what is to be done about it next. */
import type { ItemOf } from '../../api/link.ts';
import type { NAMESPACES, TWINS } from '../../api/collections.ts';
import { ANNOTATIONS, LABELS, MANAGED_BY } from '../../api/labels.ts';

export type TwinStatus = ItemOf<typeof TWINS>;

/** A twin as it is now. */
export interface ExistingTwin {
  readonly name: string;
  readonly terminating: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface TwinWorld {
  readonly clusterID: string;
  /** Human name of the consumer: the Peer's. */
  readonly peer: string;
  readonly homeNamespace: string;
  /** What the consumer asks; undefined when it asks nothing (or isn't heard yet, see `complete`). */
  readonly wanted: ItemOf<typeof NAMESPACES> | undefined;
  /** Whether everything that the consumer asks is known. */
  readonly complete: boolean;
  /** The Peer is gone, going, or no consumer any more. */
  readonly peerGone: boolean;
  /** The namespace whose labels say that it is this twin. */
  readonly twin: ExistingTwin | undefined;
  readonly isTaken: (name: string) => boolean;
  /** Names that this cluster gives to no twin, see `RESERVED_NAMESPACES`. */
  readonly reserved: readonly string[];
  /** Why the consumer gets no further twin; undefined when it may have one. */
  readonly noFurther: string | undefined;
  /** Pod Security Standard to enforce in it. */
  readonly podSecurity: string;
  /** Shadows and pods of the consumer that are still in it. */
  readonly remaining: number;
}

/** Labels and annotations to write; only those that Fluvia owns. */
export interface TwinMeta {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export type TwinPlan =
  | { readonly action: 'none' | 'forget' }
  | { readonly action: 'refuse' | 'wait'; readonly status: TwinStatus }
  | { readonly action: 'create'; readonly name: string; readonly meta: TwinMeta }
  /** Keep it; `meta` is there when something of it must be written again. */
  | { readonly action: 'keep'; readonly name: string; readonly meta?: TwinMeta }
  /** Its shadows are ending: look again when one is gone. */
  | { readonly action: 'drain'; readonly name: string; readonly status: TwinStatus }
  | { readonly action: 'delete'; readonly name: string; readonly status: TwinStatus };

const MAX_NAME = 63;
const POD_SECURITY = 'pod-security.kubernetes.io/enforce';

/** Names that no policy gives away: Kubernetes' own and Fluvia's. */
const ALWAYS_RESERVED = ['default', 'kube-*', 'fluvia-*'];

/** Whether no twin may have the name; a `*` at the end of what is reserved stands for any rest. */
export const isReservedNamespace = (name: string, reserved: readonly string[]): boolean =>
  [...ALWAYS_RESERVED, ...reserved].some((one) =>
    one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one,
  );

/** Names that the twin may get, best first. A suffix shortens the name, never itself. */
export const twinNames = (
  homeNamespace: string,
  mapping: 'auto' | 'same',
  peer: string,
  clusterID: string,
  reserved: readonly string[],
): readonly string[] => {
  const suffixed = (suffix: string): string =>
    `${homeNamespace.slice(0, MAX_NAME - suffix.length - 1).replace(/-+$/, '')}-${suffix}`;
  const names =
    mapping === 'same'
      ? [homeNamespace]
      : [homeNamespace, suffixed(peer.slice(0, 40).replace(/-+$/, '')), suffixed(clusterID.slice(0, 6))];
  return names.filter((name) => !isReservedNamespace(name, reserved));
};

/** Cluster IDs in the annotation that records with whom a twin's addresses are shared. */
export const sharedWithOf = (annotations: Readonly<Record<string, string>> | undefined): readonly string[] =>
  (annotations?.[ANNOTATIONS.sharedWith] ?? '').split(',').filter((id) => /^[a-z2-7]{26}$/.test(id));

const metaOf = (world: TwinWorld): TwinMeta => ({
  labels: {
    [LABELS.managedBy]: MANAGED_BY,
    [LABELS.origin]: world.clusterID,
    [LABELS.originNamespace]: world.homeNamespace,
    [POD_SECURITY]: world.podSecurity,
  },
  annotations: {
    [ANNOTATIONS.sharedWith]: [...new Set(world.wanted?.sharedWith)]
      .filter((id) => id !== world.clusterID)
      .sort()
      .join(','),
  },
});

const differs = (
  wanted: Readonly<Record<string, string>>,
  existing: Readonly<Record<string, string>>,
): boolean => Object.entries(wanted).some(([key, value]) => existing[key] !== value);

const status = (twin: string | undefined, ready: boolean, reason: string, message: string): TwinStatus => ({
  ...(twin === undefined ? {} : { twin }),
  ready,
  reason,
  message,
});

/** What the consumer is told of one that this cluster's API server refuses. Why is for its administrator. */
export const forbiddenTwin = (): TwinStatus =>
  status(
    undefined,
    false,
    'Forbidden',
    'the peer’s API server refuses the namespace: its administrator finds why in the log of fluvia-controller',
  );

/** What the consumer is told of a twin that stands; `refused`: an object that isn't brought there, and why. */
export const readyTwin = (name: string, homeNamespace: string, refused?: string): TwinStatus => {
  if (refused !== undefined)
    return status(name, true, 'LimitExceeded', `not brought there: ${refused}`.slice(0, 1000));
  return name === homeNamespace
    ? status(name, true, 'Ready', 'the twin has the same name')
    : status(name, true, 'Renamed', `the name is taken or reserved there, the twin is ${name}`);
};

const reservedText = (name: string, mapping: 'auto' | 'same', reserved: readonly string[]): string => {
  const other =
    mapping === 'same' && !isReservedNamespace(`${name}-x`, reserved)
      ? 'set spec.mapping of the NamespaceOffloading to auto'
      : 'use a namespace of another name';
  const ask = 'or ask the peer’s administrator to change GrantPolicy.spec.reservedNamespaces';
  return `the name ${name} is reserved at the peer: ${other}${isReservedNamespace(name, []) ? '' : `, ${ask}`}`;
};

/** The next step for one namespace of one consumer. */
export const planTwin = (world: TwinWorld): TwinPlan => {
  const { twin, wanted } = world;
  const withdrawn = world.peerGone || (wanted === undefined && world.complete);
  if (twin?.terminating === true) {
    return {
      action: 'wait',
      status: status(twin.name, false, 'Terminating', `${twin.name} is being deleted`),
    };
  }
  if (withdrawn) {
    if (twin === undefined) return { action: 'forget' };
    const ending = status(twin.name, false, 'Withdrawn', `${twin.name} is being given up`);
    return { action: world.remaining > 0 ? 'drain' : 'delete', name: twin.name, status: ending };
  }
  if (wanted === undefined) return { action: 'none' };
  const meta = metaOf(world);
  if (twin !== undefined) {
    return differs(meta.labels, twin.labels) || differs(meta.annotations, twin.annotations)
      ? { action: 'keep', name: twin.name, meta }
      : { action: 'keep', name: twin.name };
  }
  const names = twinNames(world.homeNamespace, wanted.mapping, world.peer, world.clusterID, world.reserved);
  const free = names.find((name) => !world.isTaken(name));
  if (free !== undefined)
    return world.noFurther === undefined
      ? { action: 'create', name: free, meta }
      : { action: 'refuse', status: status(undefined, false, 'LimitExceeded', world.noFurther) };
  return {
    action: 'refuse',
    status:
      names.length === 0
        ? status(
            undefined,
            false,
            'NameReserved',
            reservedText(world.homeNamespace, wanted.mapping, world.reserved),
          )
        : status(undefined, false, 'NameTaken', `taken at the peer: ${names.join(', ')}`),
  };
};
