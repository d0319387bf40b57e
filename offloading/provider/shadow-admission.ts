/** Accepts a pod of a consumer: translation, grant, quota, and then the ShadowPod, made as the peering. */
import { messageOf } from '../../api/errors.ts';
import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { isAlreadyExists } from '../../runtime/kube/errors.ts';
import { FIELD_MANAGER, SHADOW_POD, type ProviderContext } from './context.ts';
import { asPeeringCall, isRefusal } from './peering-errors.ts';
import { planPod, type TranslatedPod } from './plan-pod.ts';
import { describeShortages, podAmounts, type Amounts } from './plan-quota.ts';
import type { ShadowItem, ShadowState } from './shadow-state.ts';

export type Admission =
  | { readonly accepted: true }
  /** `grant` is the one whose growth may change the answer. */
  | { readonly accepted: false; readonly reason: string; readonly message: string; readonly grant?: string };

const refused = (reason: string, message: string, grant?: string): Admission => ({
  accepted: false,
  reason,
  message,
  ...(grant === undefined ? {} : { grant }),
});

const shadowOf = (
  state: ShadowState,
  item: ShadowItem,
  twin: string,
  grant: string,
  pod: TranslatedPod,
): ShadowPod => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'ShadowPod',
  metadata: {
    name: state.name,
    namespace: twin,
    labels: { [LABELS.origin]: state.clusterID, [LABELS.managedBy]: MANAGED_BY },
  },
  spec: {
    home: {
      clusterID: state.clusterID,
      namespace: state.homeNamespace,
      name: state.name,
      uid: item.uid,
      node: item.node,
    },
    grant,
    pod: { labels: pod.labels, annotations: pod.annotations, spec: { ...pod.spec } },
  },
});

const amountsOf = (pod: TranslatedPod): Amounts | string => {
  try {
    return podAmounts(pod.spec);
  } catch (error) {
    return messageOf(error);
  }
};

/**
 * Accepts the pod or says why not. The decision about the quota and its entry in the ledger are one step.
 * @throws what may be tried again.
 */
export const admitShadow = async (
  context: ProviderContext,
  state: ShadowState,
  signal: AbortSignal,
): Promise<Admission> => {
  const { item, twin, clusterID, consumer } = state;
  if (item === undefined || twin === undefined || consumer === undefined) {
    return refused('NoTwin', 'the namespace has no twin here');
  }
  const grantName = `${consumer.link.peer}-${item.claim}`;
  const grant = context.grants.get(undefined, grantName);
  if (
    grant === undefined ||
    grant.metadata.deletionTimestamp !== undefined ||
    grant.spec.peer !== consumer.link.peer
  ) {
    return refused('NoGrant', `nothing is granted for claim ${item.claim}`, grantName);
  }
  const plan = planPod({ ...item, clusterID }, context.podSecurity());
  if (!plan.ok) return refused(plan.reason, plan.message);
  const needed = amountsOf(plan.pod);
  if (typeof needed === 'string') return refused('InvalidSpec', needed);
  const ledgerKey = `${twin}/${state.name}`;
  const missing = context.ledger.reserve(ledgerKey, grantName, grant.spec.resources, needed);
  if (missing.length > 0) return refused('QuotaExceeded', describeShortages(missing), grantName);
  try {
    await asPeeringCall(() =>
      context.asPeering(clusterID).create(SHADOW_POD, shadowOf(state, item, twin, grantName, plan.pod), {
        fieldManager: FIELD_MANAGER,
        signal,
      }),
    );
  } catch (error) {
    // The cache will show it, or the one that was there before has gone.
    if (isAlreadyExists(error)) return { accepted: true };
    if (!isRefusal(error)) throw error;
    context.ledger.release(ledgerKey);
    return refused('Rejected', error.message);
  }
  return { accepted: true };
};
