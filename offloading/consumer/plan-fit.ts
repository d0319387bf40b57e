import { addResources, parseQuantity } from '../../api/quantity.ts';
import { matchesTerm } from '../../api/node-selector.ts';
import type { Container, Node, Pod, PodSpec, Taint } from '../../runtime/kube/types.ts';

/** Amounts in base units (cores, bytes, pieces). */
export type Amounts = Readonly<Record<string, number>>;

const quantity = (text: string | undefined): number => {
  try {
    return parseQuantity(text ?? '0');
  } catch {
    return 0;
  }
};

const amounts = (list: Readonly<Record<string, string>> | undefined): Amounts =>
  Object.fromEntries(Object.entries(list ?? {}).map(([name, text]) => [name, quantity(text)]));

const maxOf = (a: Amounts, b: Amounts): Amounts =>
  Object.fromEntries(
    [...new Set([...Object.keys(a), ...Object.keys(b)])].map((key) => [
      key,
      Math.max(a[key] ?? 0, b[key] ?? 0),
    ]),
  );

const requestsOf = (container: Container): Amounts => amounts(container.resources?.requests);
const isSidecar = (container: Container): boolean => container.restartPolicy === 'Always';

/**
 * What the scheduler counts for a pod (component-helpers, resource.PodRequests): containers and sidecars together, or
 * the largest init container with the sidecars before it, whichever is more; plus overhead, plus one pod.
 */
export const podRequests = (spec: PodSpec): Amounts => {
  let running: Amounts = spec.containers.map(requestsOf).reduce(addResources, {});
  let sidecars: Amounts = {};
  let init: Amounts = {};
  for (const container of spec.initContainers ?? []) {
    if (isSidecar(container)) {
      sidecars = addResources(sidecars, requestsOf(container));
      running = addResources(running, requestsOf(container));
      init = maxOf(init, sidecars);
    } else {
      init = maxOf(init, addResources(sidecars, requestsOf(container)));
    }
  }
  return { ...addResources(maxOf(running, init), amounts(spec.overhead)), pods: 1 };
};

/** `free` after `used` was taken. */
export const subtract = (free: Amounts, used: Amounts): Amounts =>
  Object.fromEntries(Object.entries(free).map(([name, value]) => [name, value - (used[name] ?? 0)]));

/** Allocatable of a node, in base units. */
export const allocatableOf = (node: Node): Amounts => amounts(node.status?.allocatable);

/** Whether nodeSelector and required node affinity let the pod onto the node. */
export const matchesNode = (spec: PodSpec, node: Node): boolean => {
  const { nodeSelector, affinity } = spec;
  const { labels } = node.metadata;
  if (nodeSelector !== undefined) {
    for (const key of Object.keys(nodeSelector)) if (labels?.[key] !== nodeSelector[key]) return false;
  }
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
};

const tolerates = (spec: PodSpec, taint: Taint): boolean =>
  (spec.tolerations ?? []).some(
    (t) =>
      ((t.effect ?? '') === '' || t.effect === taint.effect) &&
      ((t.key ?? '') === '' ? t.operator === 'Exists' : t.key === taint.key) &&
      (t.operator === 'Exists' || (t.value ?? '') === (taint.value ?? '')),
  );

/** Why the scheduler would put no new pod there, whatever pod it is; undefined when it would. */
export const whyClosed = (node: Node): string | undefined => {
  if (node.metadata.deletionTimestamp !== undefined) return 'it is being removed';
  if (node.spec.unschedulable === true) return 'it is cordoned';
  const ready = node.status?.conditions?.find((c) => c.type === 'Ready');
  return ready?.status === 'True'
    ? undefined
    : `it is not ready (${ready?.message ?? ready?.reason ?? 'unknown'})`;
};

/** Why the scheduler would not put this pod on an open node, apart from room; undefined when it would. */
export const whyNotFor = (spec: PodSpec, node: Node): string | undefined => {
  if (!matchesNode(spec, node)) return "the pod's node selector or affinity excludes it";
  for (const taint of node.spec.taints ?? []) {
    if ((taint.effect === 'NoSchedule' || taint.effect === 'NoExecute') && !tolerates(spec, taint))
      return `the pod does not tolerate its taint ${taint.key}`;
  }
  return undefined;
};

/** Whether a pod still takes room on its node. */
export const takesRoom = (pod: Pod): boolean =>
  pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';
