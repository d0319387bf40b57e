/** What a consumer is told of its pod: the known fields of its PodStatus, without addresses and without surprises. */
import type { ItemOf } from '../../api/link.ts';
import type { SHADOW_STATUS } from '../../api/collections.ts';
import { Ipv4String } from '../../api/cidr.ts';
import type {
  ContainerState,
  ContainerStatus,
  Pod,
  PodStatus,
  StatusCondition,
} from '../../runtime/kube/types.ts';
import { containerNames } from './plan-pod.ts';

export type ShadowStatusItem = ItemOf<typeof SHADOW_STATUS>;

const MAX_MESSAGE = 1024;
/** Everything below 0x20 but tab and newline, DEL and the C1 range: what a terminal may take for commands. */
const isControl = (code: number): boolean =>
  (code < 0x20 && code !== 0x09 && code !== 0x0a) || (code >= 0x7f && code <= 0x9f);

/** Text that is safe to print and of bounded length; undefined stays so. */
export const cleanText = (text: string | undefined, max = MAX_MESSAGE): string | undefined => {
  if (text === undefined) return undefined;
  const clean = Array.from(text.slice(0, max * 2).toWellFormed())
    .filter((char) => !isControl(char.codePointAt(0) ?? 0))
    .join('');
  return clean.length > max ? `${clean.slice(0, max - 1)}…` : clean;
};

const defined = <T extends object>(fields: T): T =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;

const stateOf = (state: ContainerState | undefined): ContainerState | undefined => {
  if (state?.running !== undefined)
    return { running: defined({ startedAt: state.running.startedAt }) } as ContainerState;
  if (state?.terminated !== undefined) {
    const { exitCode, reason, message, startedAt, finishedAt } = state.terminated;
    const signal = state.terminated['signal'];
    const containerID = state.terminated['containerID'];
    return {
      terminated: defined({
        exitCode,
        reason: cleanText(reason, 256),
        message: cleanText(message, 4096),
        startedAt,
        finishedAt,
        signal: typeof signal === 'number' ? signal : undefined,
        containerID: typeof containerID === 'string' ? containerID : undefined,
      }),
    } as ContainerState;
  }
  if (state?.waiting !== undefined) {
    return {
      waiting: defined({
        reason: cleanText(state.waiting.reason, 256),
        message: cleanText(state.waiting.message),
      }),
    } as ContainerState;
  }
  return undefined;
};

const containerStatusOf = (status: ContainerStatus, earlierPods: number): ContainerStatus =>
  defined({
    name: status.name,
    ready: status.ready,
    started: status.started,
    restartCount: status.restartCount + earlierPods,
    image: status.image,
    imageID: status.imageID,
    containerID: status.containerID,
    state: stateOf(status.state),
    lastState: stateOf(status.lastState),
  });

const CONDITIONS = new Set([
  'PodScheduled',
  'PodReadyToStartContainers',
  'Initialized',
  'ContainersReady',
  'Ready',
  'DisruptionTarget',
]);

const conditionOf = (condition: StatusCondition): StatusCondition =>
  defined({
    type: condition.type,
    status: condition.status,
    reason: cleanText(condition.reason, 256),
    message: cleanText(condition.message),
    lastTransitionTime: condition.lastTransitionTime,
  });

const readinessGates = (spec: Readonly<Record<string, unknown>>): readonly unknown[] =>
  (Array.isArray(spec['readinessGates']) ? spec['readinessGates'] : []).map((gate: unknown) =>
    typeof gate === 'object' && gate !== null && 'conditionType' in gate ? gate.conditionType : undefined,
  );

/**
 * The pod's status reduced to what the consumer's own spec knows: its containers, the standard conditions, its readiness
 * gates. Addresses of the pod and its node are left out. `earlierPods` counts as restarts.
 */
export const reducePodStatus = (
  status: PodStatus,
  spec: Readonly<Record<string, unknown>>,
  earlierPods: number,
): PodStatus => {
  const names = containerNames(spec);
  const gates = readinessGates(spec);
  const known = (list: readonly ContainerStatus[] | undefined): readonly ContainerStatus[] | undefined =>
    list?.filter((one) => names.has(one.name)).map((one) => containerStatusOf(one, earlierPods));
  return defined({
    phase: status.phase,
    reason: cleanText(status.reason, 256),
    message: cleanText(status.message),
    startTime: status.startTime,
    conditions: status.conditions
      ?.filter(({ type }) => CONDITIONS.has(type) || gates.includes(type))
      .map(conditionOf),
    initContainerStatuses: known(status.initContainerStatuses),
    containerStatuses: known(status.containerStatuses),
  }) as PodStatus;
};

/** A condition that holds while a lost pod is made again. */
const NOT_READY = ['Ready', 'ContainersReady'].map((type) => ({
  type,
  status: 'False',
  reason: 'Recreating',
  message: 'the pod was lost at the peer and is made again there',
}));

export interface StatusWorld {
  readonly uid: string;
  /** PodSpec of the shadow. */
  readonly spec: Readonly<Record<string, unknown>>;
  readonly pod: Pod | undefined;
  /** ShadowPod's recorded phase, for when the pod object is gone. */
  readonly phase: string | undefined;
  /** How many pods there were, this one included. */
  readonly incarnations: number;
  /** The pod's end is an accident that is being healed. */
  readonly healing: boolean;
  /** Its address is open to the consumer. */
  readonly addressOpen: boolean;
  /** Why there is no pod yet, or none any more. */
  readonly waiting?: { readonly reason: string; readonly message: string } | undefined;
}

/** The item to publish for a pod that is accepted. */
export const planStatus = (world: StatusWorld): ShadowStatusItem => {
  const { pod } = world;
  const earlier = Math.max(0, world.incarnations - 1);
  if (pod === undefined || world.healing) {
    const terminal = world.phase === 'Succeeded' || world.phase === 'Failed';
    const status = terminal
      ? {
          phase: world.phase,
          ...(world.waiting && { reason: world.waiting.reason, message: world.waiting.message }),
        }
      : {
          phase: 'Pending',
          ...(earlier > 0 || world.healing ? { reason: 'Recreating', conditions: NOT_READY } : {}),
        };
    return {
      uid: world.uid,
      state: 'accepted',
      status,
      ...(world.waiting === undefined
        ? {}
        : { reason: world.waiting.reason, message: cleanText(world.waiting.message, 2000) }),
    };
  }
  const podIP = pod.status?.podIP;
  return defined({
    uid: world.uid,
    state: 'accepted',
    status: { ...reducePodStatus(pod.status ?? {}, world.spec, earlier) },
    podIP: world.addressOpen && Ipv4String.safeParse(podIP).success ? podIP : undefined,
    nodeName: pod.spec.nodeName,
  });
};

/** The item to publish for a pod that won't run here; `isPassing`: for now, it is tried again. */
export const refusedStatus = (
  uid: string,
  reason: string,
  message: string,
  isPassing: boolean,
): ShadowStatusItem => ({
  uid,
  state: 'refused',
  ...(isPassing ? { passing: true } : {}),
  reason: reason.slice(0, 128),
  message: cleanText(message, 2000),
});
