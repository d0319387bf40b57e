/** What would fit at this cluster, from its real nodes. */
import { MAX_COUNTED, MAX_SLOTS, type FitSlot, type FITS } from '../../api/fits-collection.ts';
import { LABELS } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import { formatAmounts, subtractAmounts, sumAmounts, type Amounts } from './plan-quota.ts';

/** The parts of a Node that count. */
export interface FitNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Ready, not cordoned, not being removed, without a taint that keeps pods off, not virtual. */
  readonly usable: boolean;
  readonly allocatable: Amounts;
}

/** The parts of a Node object that {@link isUsable} reads. */
export interface NodeState {
  readonly metadata: {
    readonly labels?: Readonly<Record<string, string>> | undefined;
    readonly deletionTimestamp?: string | undefined;
  };
  readonly spec: {
    readonly unschedulable?: boolean | undefined;
    readonly taints?: readonly { readonly effect: string }[] | undefined;
  };
  readonly status?:
    | { readonly conditions?: readonly { readonly type: string; readonly status: string }[] | undefined }
    | undefined;
}

/** A pod that takes room, bound to `node` or still waiting for one (undefined). */
export interface FitPod {
  readonly node: string | undefined;
  readonly amounts: Amounts;
}

export interface FitWorld {
  readonly nodes: readonly FitNode[];
  /** Pods of everybody that are bound, and accepted ones of peers that aren't yet. */
  readonly pods: readonly FitPod[];
}

/** What stands of one consumer's claim. */
export interface FitGrant {
  /** Granted minus used; a resource that isn't named isn't given, but for `pods`. */
  readonly left: Amounts;
  /** UIDs of the consumer's pods that are among {@link FitWorld.pods}, newest first. */
  readonly counted: readonly string[];
}

/** Room of one node after all pods. */
export interface NodeRoom {
  readonly labels: Readonly<Record<string, string>>;
  readonly free: Amounts;
}

/** Labels that are told: they say what the node is, not which. */
const TOLD_LABELS = [
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
];

/** Whether pods of peers can be put on the node. Tolerations don't travel, so any taint keeps them off. */
export const isUsable = ({ metadata, spec, status }: NodeState): boolean =>
  metadata.labels?.[LABELS.virtualNode] === undefined &&
  metadata.deletionTimestamp === undefined &&
  spec.unschedulable !== true &&
  !(spec.taints ?? []).some(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute') &&
  (status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false);

const amount = (amounts: Amounts, resource: string): number =>
  Object.hasOwn(amounts, resource) ? (amounts[resource] ?? 0) : 0;

const isWithin = (wanted: Amounts, free: Amounts): boolean =>
  Object.entries(wanted).every(([resource, value]) => value <= amount(free, resource));

const bySize = (a: Amounts, b: Amounts): number =>
  amount(b, 'cpu') - amount(a, 'cpu') || amount(b, 'memory') - amount(a, 'memory');

/**
 * Room of the usable nodes. A pod that isn't bound yet is put where the scheduler most likely will: on the roomiest node
 * that takes it; if none does, it takes nothing.
 */
export const roomOfNodes = ({ nodes, pods }: FitWorld): readonly NodeRoom[] => {
  const taken = new Map<string, Amounts[]>();
  for (const { node, amounts } of pods) {
    if (node === undefined) continue;
    const list = taken.get(node);
    if (list === undefined) taken.set(node, [amounts]);
    else list.push(amounts);
  }
  const rooms = nodes
    .filter(({ usable }) => usable)
    .map(({ name, labels, allocatable }) => ({
      labels: Object.fromEntries(
        TOLD_LABELS.flatMap((key) => (labels[key] === undefined ? [] : [[key, labels[key]]])),
      ) as Readonly<Record<string, string>>,
      free: subtractAmounts(allocatable, sumAmounts(taken.get(name) ?? [])),
    }));
  const waiting = pods
    .filter(({ node }) => node === undefined)
    .toSorted((a, b) => bySize(a.amounts, b.amounts));
  for (const { amounts } of waiting) {
    const target = rooms
      .filter(({ free }) => isWithin(amounts, free))
      .toSorted((a, b) => bySize(a.free, b.free))[0];
    if (target !== undefined) target.free = subtractAmounts(target.free, amounts);
  }
  return rooms;
};

const MEBI = 1024 * 1024;

/** Rounded down, so that small changes are no news. */
const rounded = (resource: string, value: number): number =>
  resource === 'memory' || resource === 'ephemeral-storage' ? Math.floor(value / MEBI) * MEBI : value;

const boundedBy = (left: Amounts, free: Amounts): Amounts =>
  Object.fromEntries(
    Object.entries(free)
      .filter(([resource]) => resource === 'pods' || Object.hasOwn(left, resource))
      .map(([resource, value]): [string, number] => [
        resource,
        rounded(
          resource,
          Math.max(0, Math.min(value, Object.hasOwn(left, resource) ? amount(left, resource) : value)),
        ),
      ])
      .filter(([, value]) => value > 0)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );

/** What one consumer is told. */
export const planFits = (rooms: readonly NodeRoom[], grant: FitGrant): ItemOf<typeof FITS> => {
  const groups = new Map<
    string,
    { readonly free: Amounts; readonly labels: NodeRoom['labels']; count: number }
  >();
  for (const room of rooms) {
    const free = boundedBy(grant.left, room.free);
    if (amount(free, 'pods') < 1) continue;
    const key = JSON.stringify([free, room.labels]);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, { free, labels: room.labels, count: 1 });
    else known.count += 1;
  }
  const sorted = [...groups]
    .toSorted(([a, x], [b, y]) => bySize(x.free, y.free) || (a < b ? -1 : 1))
    .map(([, group]) => group);
  return {
    slots: sorted.slice(0, MAX_SLOTS).map(({ free, labels, count }): FitSlot => ({
      free: formatAmounts(free),
      count,
      labels: { ...labels },
    })),
    omittedNodes: sorted.slice(MAX_SLOTS).reduce((sum, { count }) => sum + count, 0),
    counted: grant.counted.slice(0, MAX_COUNTED),
    countedAll: grant.counted.length <= MAX_COUNTED,
  };
};
