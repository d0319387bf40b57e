/** Records on the ShadowPod what must outlive this process, and tells the consumer how its pod is. */
import { setCondition, isConditionTrue, type Condition } from '../../api/conditions.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { FIELD_MANAGER, OFFERS_BY_ADDRESS, SHADOW_POD, type ProviderContext } from './context.ts';
import { asPeeringCall } from './peering-errors.ts';
import { isEnforced } from './plan-open-address.ts';
import { restartPolicyOf } from './plan-pod.ts';
import { isAccident } from './plan-shadow.ts';
import { cleanText, planStatus } from './plan-status.ts';
import type { ShadowState } from './shadow-state.ts';

type Status = NonNullable<ShadowPod['status']>;

const ADDRESS_OPEN = 'AddressOpen';
/** Says why a pod that vanished counts as ended. */
const ENDED = 'Ended';
const TERMINAL = new Set<string | undefined>(['Succeeded', 'Failed']);

/** Name under which keys wait for the address of a pod to be opened to a peer. */
export const openTopic = (peer: string): string => `open:${peer}`;

/** The address that was found open for the pod that runs now, so that later changes of its Offer don't close it again. */
const recordedAddress = (conditions: readonly Condition[] | undefined): string | undefined =>
  isConditionTrue(conditions, ADDRESS_OPEN)
    ? conditions?.find(({ type }) => type === ADDRESS_OPEN)?.message
    : undefined;

/** Whether the pod's address is open to its consumer now. */
const isOpen = (context: ProviderContext, state: ShadowState, recorded: string | undefined): boolean => {
  const address = state.pod?.status?.podIP;
  const peer = context.consumers.peerOf(state.clusterID)?.metadata.name;
  if (address === undefined || peer === undefined) return false;
  const offers = context.offers.byIndex(OFFERS_BY_ADDRESS, `${peer} ${address}/32`);
  if (offers.length === 0) return false;
  return (
    recorded === address || isEnforced(offers, context.fabricNodes.list(), context.deps.clock.now().getTime())
  );
};

const podPhase = (phase: string | undefined): Status['phase'] =>
  phase === 'Running' || phase === 'Succeeded' || phase === 'Failed' ? phase : 'Pending';

/** The status that the ShadowPod should have. */
const nextStatus = (
  context: ProviderContext,
  state: ShadowState,
  shadow: ShadowPod,
  healing: boolean,
): Status => {
  const { pod } = state;
  const old = shadow.status ?? {};
  const ended = TERMINAL.has(old.phase);
  if (
    pod === undefined ||
    pod.metadata.ownerReferences?.every(({ uid }) => uid !== shadow.metadata.uid) === true
  ) {
    return { ...old, phase: ended ? old.phase : 'Pending' };
  }
  const podUID = pod.metadata.uid;
  const isNew = podUID !== old.podUID;
  const open = isOpen(context, state, isNew ? undefined : recordedAddress(old.conditions));
  const conditions =
    open || recordedAddress(old.conditions) !== undefined
      ? setCondition(
          old.conditions,
          open
            ? { type: ADDRESS_OPEN, status: 'True', reason: 'Enforced', message: pod.status?.podIP ?? '' }
            : {
                type: ADDRESS_OPEN,
                status: 'False',
                reason: 'NotEnforced',
                message: 'not offered to the consumer',
              },
          context.deps.clock.now().toISOString(),
        )
      : old.conditions;
  return {
    phase: healing ? 'Pending' : podPhase(pod.status?.phase),
    podUID,
    incarnations: (old.incarnations ?? 0) + (isNew ? 1 : 0),
    ...(conditions === undefined ? {} : { conditions }),
  };
};

/** Writes the status of a ShadowPod as the peering, if it differs. */
export const writeShadowStatus = async (
  context: ProviderContext,
  clusterID: string,
  shadow: ShadowPod,
  status: Status,
  signal: AbortSignal,
): Promise<void> => {
  if (equalJson(shadow.status ?? {}, status)) return;
  const { name, namespace, uid } = shadow.metadata;
  await asPeeringCall(() =>
    context.asPeering(clusterID).patch(
      SHADOW_POD,
      name,
      namespace,
      // The uid makes it a conflict when the object was made anew meanwhile.
      { metadata: { uid }, status },
      { type: 'merge', subresource: 'status', fieldManager: FIELD_MANAGER, signal },
    ),
  );
};

export interface Report {
  /** Why there is no pod yet. */
  readonly waiting?: { readonly reason: string; readonly message: string };
}

/**
 * Records and publishes the state of a pod that was accepted. First the record: what home was told survives a crash.
 * @returns whether the pod's address still has to be opened.
 */
export const reportShadow = async (
  context: ProviderContext,
  state: ShadowState,
  shadow: ShadowPod,
  report: Report,
  signal: AbortSignal,
): Promise<{ readonly awaitsOpening: boolean }> => {
  const { pod } = state;
  const healing =
    pod !== undefined &&
    isAccident({ phase: pod.status?.phase, reason: pod.status?.reason }, restartPolicyOf(shadow)) &&
    !TERMINAL.has(shadow.status?.phase);
  const status = nextStatus(context, state, shadow, healing);
  await writeShadowStatus(context, state.clusterID, shadow, status, signal);
  const current = status.podUID !== undefined && status.podUID === pod?.metadata.uid;
  const addressOpen = current && recordedAddress(status.conditions) !== undefined;
  state.consumer?.statuses.set(
    state.id,
    planStatus({
      uid: shadow.spec.home.uid,
      spec: shadow.spec.pod.spec,
      pod: current ? pod : undefined,
      phase: status.phase,
      incarnations: status.incarnations ?? 0,
      healing,
      addressOpen,
      waiting: report.waiting ?? status.conditions?.find(({ type }) => type === ENDED),
    }),
  );
  const hasAddress = current && pod?.status?.podIP !== undefined;
  return { awaitsOpening: hasAddress && !addressOpen && !TERMINAL.has(status.phase) && !healing };
};

/** Records that the pod will never run again; what is reported then says why. */
export const recordFailure = async (
  context: ProviderContext,
  state: ShadowState,
  shadow: ShadowPod,
  reason: string,
  message: string,
  signal: AbortSignal,
): Promise<void> => {
  const conditions = setCondition(
    shadow.status?.conditions,
    { type: ENDED, status: 'True', reason, message: cleanText(message) ?? '' },
    context.deps.clock.now().toISOString(),
  );
  await writeShadowStatus(
    context,
    state.clusterID,
    shadow,
    { ...shadow.status, phase: 'Failed', conditions },
    signal,
  );
};
