import type { FitSlot } from '../../api/fits-collection.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { matchesRequirement } from '../../api/node-selector.ts';
import type { PodSpec } from '../../runtime/kube/types.ts';
import type { Amounts } from './plan-fit.ts';

/** Room of equal real nodes, in base units. */
export interface Slot {
  readonly free: Amounts;
  readonly count: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** An amount of one resource. */
export type Want = readonly [resource: string, amount: number];

/** What a pod wants: made once, compared often. */
export interface Wants {
  /** What is more than nothing. */
  readonly amounts: readonly Want[];
  /** What it counts as in scores, see {@link roominess}. */
  readonly cpu: number;
  readonly memory: number;
}

/** A pod that asks nothing counts as so much in scores, as kube-scheduler has it. */
const LEAST_CPU = 0.1;
const LEAST_MEMORY = 200 * 1024 * 1024;

/** What a pod with these requests wants. */
export const wantsOf = (requests: Amounts): Wants => ({
  amounts: Object.entries(requests).filter(([, amount]) => amount > 0),
  cpu: (requests['cpu'] ?? 0) || LEAST_CPU,
  memory: (requests['memory'] ?? 0) || LEAST_MEMORY,
});

/** A millionth of slack: sums of decimal fractions are not exact. */
const SLACK = 1e-6;

/** Whether all of it is there. */
export const isWithin = (free: Amounts, { amounts }: Wants): boolean => {
  // Indexed: this runs for every kind of node of every peer.
  for (let index = 0; index < amounts.length; index += 1) {
    const want = amounts[index];
    if (want !== undefined && want[1] > (free[want[0]] ?? 0) + SLACK) return false;
  }
  return true;
};

/** `free` without what is wanted. */
export const without = (free: Amounts, wants: Wants): Amounts => {
  const left: Record<string, number> = { ...free };
  for (const [resource, amount] of wants.amounts) left[resource] = (left[resource] ?? 0) - amount;
  return left;
};

const number = (text: string): number => {
  try {
    return parseQuantity(text);
  } catch {
    return 0;
  }
};

/** Slots as a provider told them. */
export const slotsOf = (told: readonly FitSlot[]): readonly Slot[] =>
  told.map(({ free, count, labels }) => ({
    free: Object.fromEntries(Object.entries(free).map(([resource, text]) => [resource, number(text)])),
    count,
    labels,
  }));

/**
 * How roomy a slot would be with the pod on it: the least, over CPU and memory, of what is left per what is asked; like
 * kube-scheduler, which fills the emptiest node first.
 */
export const roominess = (free: Amounts, { cpu, memory }: Wants): number => {
  const byCpu = ((free['cpu'] ?? 0) - cpu) / cpu;
  const freeMemory = free['memory'];
  const byMemory = freeMemory === undefined ? byCpu : (freeMemory - memory) / memory;
  return Math.max(0, Math.min(byCpu, byMemory));
};

/** Whether the slot's nodes are of the arch, os and zone that the pod names. What isn't told of a slot doesn't exclude it. */
const isOfKind = (spec: PodSpec, { labels }: Slot): boolean => {
  const selector = spec.nodeSelector;
  if (selector !== undefined) {
    for (const key of Object.keys(selector)) {
      const value = labels[key];
      if (value !== undefined && value !== selector[key]) return false;
    }
  }
  const terms =
    spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return (
    terms === undefined ||
    terms.some((term) =>
      (term.matchExpressions ?? []).every(
        (requirement) =>
          labels[requirement.key] === undefined || matchesRequirement(labels[requirement.key], requirement),
      ),
    )
  );
};

/** Index of the slot that the provider's scheduler would most likely choose; -1 when none takes the pod. */
export const chooseSlot = (slots: readonly Slot[], spec: PodSpec, wants: Wants): number => {
  let best = -1;
  let most = -1;
  for (let index = 0; index < slots.length; index += 1) {
    const slot = slots[index];
    if (slot === undefined) continue;
    const room = roominess(slot.free, wants);
    if (room <= most || !isWithin(slot.free, wants) || !isOfKind(spec, slot)) continue;
    most = room;
    best = index;
  }
  return best;
};

/** The slots after the pod went to one of them. A pod that fits in none takes nothing: it isn't running anywhere yet. */
export const takeSlot = (slots: readonly Slot[], spec: PodSpec, wants: Wants): readonly Slot[] => {
  const index = chooseSlot(slots, spec, wants);
  const slot = slots[index];
  if (slot === undefined) return slots;
  const taken: Slot = { ...slot, free: without(slot.free, wants), count: 1 };
  const rest = slot.count > 1 ? [{ ...slot, count: slot.count - 1 }] : [];
  return [...slots.slice(0, index), ...rest, taken, ...slots.slice(index + 1)];
};

const shown = (resource: string, amount: number): string => {
  if (resource !== 'memory' && !resource.endsWith('storage'))
    return formatQuantity(resource, Math.max(0, amount));
  const mebi = Math.max(0, Math.floor(amount / 2 ** 20));
  return mebi >= 1024 ? `${Number((mebi / 1024).toFixed(1))}Gi` : `${mebi}Mi`;
};

/** Text of an amount with its unit: `4 cpu`, `1.5Gi memory`. */
export const showAmount = (resource: string, amount: number): string =>
  `${shown(resource, amount)} ${resource}`;

/** What is missing where nothing takes the pod; `where` names what the amounts are of: "largest free node". */
export const describeMissing = (
  frees: readonly Amounts[],
  { amounts }: Wants,
  where = 'largest free node',
): string => {
  const parts: string[] = [];
  for (const [resource, amount] of amounts) {
    const most = Math.max(0, ...frees.map((free) => free[resource] ?? 0));
    if (amount <= most + SLACK) continue;
    if (resource === 'pods') parts.push('no place for one more pod');
    else if (most === 0 && resource.includes('/')) parts.push(`no ${resource} free`);
    else parts.push(`needs ${showAmount(resource, amount)}, ${where} has ${shown(resource, most)}`);
  }
  if (parts.length > 0) return parts.join('; ');
  const all = amounts
    .filter(([resource]) => resource !== 'pods')
    .map(([resource, n]) => showAmount(resource, n));
  return `no single node has ${all.join(' and ')} free together`;
};
