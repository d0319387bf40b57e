import type { SHADOW_STATUS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import type { ContainerStatus, Pod, PodStatus, StatusCondition } from '../../runtime/kube/types.ts';

/** What the status of a home pod is made from. */
export interface StatusWorld {
  readonly pod: Pod;
  readonly told: ItemOf<typeof SHADOW_STATUS>;
  /** The pod's address as home sees it; undefined until it is known and open. */
  readonly podIP: string | undefined;
  /** Address of the virtual kubelet: the leader's pod. */
  readonly hostIP: string;
  /** Why the peer has not made the pod yet, as home knows it better than the peer; undefined when it doesn't. */
  readonly waitsFor?: string | undefined;
  /** Whether the peer is lost: the pod keeps running there, but home must not count on it. */
  readonly isLost: boolean;
  /** RFC 3339. */
  readonly now: string;
}

/** Conditions that home's own controllers write. */
const HOME_CONDITIONS = new Set(['PodScheduled', 'DisruptionTarget']);
/** Conditions that a kubelet writes, so the provider's word counts. */
const KUBELET_CONDITIONS = new Set([
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodReadyToStartContainers',
  'PodResizePending',
  'PodResizeInProgress',
]);
const TERMINAL = new Set(['Succeeded', 'Failed']);

/** Whether the pod has ended: such a phase never goes back. */
export const isTerminal = (phase: string | undefined): boolean => phase !== undefined && TERMINAL.has(phase);

const CONTROLS = /[[\p{Cf}\p{Cc}]--[\t\n]]/gv;

/** The peer's word without escape codes: people read it on terminals. Nested no deeper than the link lets through. */
const clean = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replaceAll(CONTROLS, '');
  if (Array.isArray(value)) return value.map(clean);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, clean(field)]));
};

const cleaned = (
  status: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, unknown>> | undefined =>
  status === undefined ? undefined : (clean(status) as Record<string, unknown>);

const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

const isNamed = (value: unknown): value is ContainerStatus =>
  typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string';

const statusesOf = (value: unknown, names: ReadonlySet<string>): readonly ContainerStatus[] =>
  asList(value)
    .filter(isNamed)
    .filter((status) => names.has(status.name))
    // Allocations and volumes are the provider's node's; home's API server would check them against home's spec, and a
    // ResourceQuota or the scheduler of home would count what a peer says that the pod uses.
    .map(
      ({
        allocatedResourcesStatus: _s,
        allocatedResources: _a,
        resources: _r,
        volumeMounts: _v,
        ...status
      }) => status,
    );

const toldConditions = (status: Readonly<Record<string, unknown>>): readonly StatusCondition[] =>
  asList(status['conditions']).filter(
    (c): c is StatusCondition =>
      typeof c === 'object' &&
      c !== null &&
      'type' in c &&
      typeof c.type === 'string' &&
      KUBELET_CONDITIONS.has(c.type) &&
      'status' in c &&
      ['True', 'False', 'Unknown'].includes(String(c.status)),
  );

/** Why a pod that its peer calls ready isn't ready at home. */
const whyNotReady = (world: StatusWorld): { reason: string; message: string } | undefined => {
  if (world.isLost)
    return { reason: 'PeerUnreachable', message: 'the peer does not answer; the pod may still run there' };
  if (world.podIP === undefined)
    return { reason: 'AddressPending', message: 'its address is not open to this cluster yet' };
  const gates = asList(world.pod.spec['readinessGates']) as readonly { readonly conditionType?: string }[];
  const closed = gates.find(
    ({ conditionType }) =>
      world.pod.status?.conditions?.find((c) => c.type === conditionType)?.status !== 'True',
  );
  return (
    closed && {
      reason: 'ReadinessGatesNotReady',
      message: `condition ${closed.conditionType ?? ''} is not True`,
    }
  );
};

const conditionsOf = (world: StatusWorld): readonly StatusCondition[] => {
  const old = world.pod.status?.conditions ?? [];
  const told = toldConditions(cleaned(world.told.status) ?? {});
  const blocked = whyNotReady(world);
  const next = told.map((c): StatusCondition => {
    const { observedGeneration: _there, ...condition } = c;
    const isBlocked = c.type === 'Ready' && c.status === 'True' && blocked !== undefined;
    const wanted = isBlocked ? { ...condition, status: 'False', ...blocked } : condition;
    const before = old.find((o) => o.type === c.type);
    const changedAt = isBlocked ? world.now : (c.lastTransitionTime ?? world.now);
    return {
      ...wanted,
      lastTransitionTime:
        before?.status === wanted.status ? (before.lastTransitionTime ?? changedAt) : changedAt,
    };
  });
  const mine = old.filter((c) => HOME_CONDITIONS.has(c.type) || !KUBELET_CONDITIONS.has(c.type));
  return [...mine, ...next];
};

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

const PHASES = new Set(['Pending', 'Running', 'Succeeded', 'Failed']);

/**
 * The status of the home pod; undefined when it must stay as it is. QoS stays home's (it is immutable), only containers
 * of home's spec are shown, and a pod that has ended never comes back to life.
 */
export const planPodStatus = (world: StatusWorld): Record<string, unknown> | undefined => {
  const { pod, told } = world;
  const there = cleaned(told.status);
  if (there === undefined || told.uid !== pod.metadata.uid) return undefined;
  const phase = text(there['phase']) ?? 'Pending';
  if (!PHASES.has(phase)) return undefined;
  if (isTerminal(pod.status?.phase)) return undefined;
  const names = new Set(pod.spec.containers.map((c) => c.name));
  const initNames = new Set((pod.spec.initContainers ?? []).map((c) => c.name));
  const podIP = world.podIP;
  // No pod over there yet: the peer says why beside the status.
  const isWaiting = phase === 'Pending';
  return {
    phase,
    reason: text(there['reason']) ?? (isWaiting ? text(clean(told.reason)) : undefined) ?? null,
    message:
      (
        text(there['message']) ??
        (isWaiting ? (world.waitsFor ?? (clean(told.message) as string | undefined)) : undefined)
      )?.slice(0, 2048) ?? null,
    startTime: pod.status?.startTime ?? text(there['startTime']) ?? null,
    conditions: conditionsOf(world),
    hostIP: world.hostIP,
    hostIPs: [{ ip: world.hostIP }],
    ...(podIP === undefined ? {} : { podIP, podIPs: [{ ip: podIP }] }),
    containerStatuses: statusesOf(there['containerStatuses'], names),
    ...(initNames.size === 0
      ? {}
      : { initContainerStatuses: statusesOf(there['initContainerStatuses'], initNames) }),
  };
};

/** The status of a pod that its peer refuses for now, and tries again; nobody else would start it. */
export const planHeldStatus = (
  pod: Pod,
  peer: string,
  { reason, message }: { readonly reason: string; readonly message: string },
  now: string,
): Record<string, unknown> => {
  const why = `peer ${peer} has it wait: ${message}`.slice(0, 1024);
  const conditions = pod.status?.conditions ?? [];
  const before = conditions.find(({ type }) => type === 'Ready');
  const ready: StatusCondition = {
    type: 'Ready',
    status: 'False',
    reason,
    message: why,
    lastTransitionTime: before?.status === 'False' ? (before.lastTransitionTime ?? now) : now,
  };
  return {
    phase: 'Pending',
    reason,
    message: why,
    conditions: [...conditions.filter(({ type }) => type !== 'Ready'), ready],
  };
};

/** The status of a pod that its peer will not run (any more), for those whose owner doesn't make another. */
export const planFailedStatus = (reason: string, message: string): Record<string, unknown> => ({
  phase: 'Failed',
  reason,
  message: message.slice(0, 1024),
});

/** Status of a pod whose peer is lost: Ready False, all else as it was; undefined when it says so already. */
export const planLostStatus = (pod: Pod, now: string): Record<string, unknown> | undefined => {
  const conditions = pod.status?.conditions ?? [];
  if (isTerminal(pod.status?.phase) || !conditions.some((c) => c.type === 'Ready' && c.status === 'True')) {
    return undefined;
  }
  return {
    conditions: conditions.map((c) =>
      c.type === 'Ready'
        ? {
            ...c,
            status: 'False',
            reason: 'PeerUnreachable',
            message: 'the peer does not answer',
            lastTransitionTime: now,
          }
        : c,
    ),
  };
};

/** Whether writing `desired` would change anything. */
export const changesStatus = (
  existing: PodStatus | undefined,
  desired: Readonly<Record<string, unknown>>,
  equal: (a: unknown, b: unknown) => boolean,
): boolean =>
  Object.entries(desired).some(([key, value]) => {
    const old = existing?.[key];
    if (value === null) return old !== undefined && old !== null;
    return !equal(Array.isArray(value) && value.length === 0 ? (old ?? []) : old, value);
  });
