/** Accepts a pod of a consumer: translation, grant, quota, and then the ShadowPod, made as the peering. */
import { messageOf } from '../../api/errors.ts';
import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { isAlreadyExists } from '../../runtime/kube/errors.ts';
import { FIELD_MANAGER, SHADOW_POD, type ProviderContext } from './context.ts';
import { asPeeringCall, isRefusal } from './peering-errors.ts';
import { heldKey } from './holdings.ts';
import { bytesOf, podHolding } from './plan-holdings.ts';
import { underRules, type PodRules } from './plan-pod-rules.ts';
import { planPod, type PodPlan, type TranslatedPod } from './plan-pod.ts';
import { describeShortages, podAmounts, type Amounts } from './plan-quota.ts';
import type { ShadowItem, ShadowState } from './shadow-state.ts';

export type Admission =
  | { readonly accepted: true }
  /** `mayChange`: another answer is possible when the grant or its use changes. */
  | {
      readonly accepted: false;
      readonly reason: string;
      readonly message: string;
      readonly mayChange: boolean;
    };

const refused = (reason: string, message: string, mayChange = false): Admission => ({
  accepted: false,
  reason,
  message,
  mayChange,
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
    ...(item.fence === undefined ? {} : { fence: item.fence }),
    grant,
    pod: { labels: pod.labels, annotations: pod.annotations, spec: { ...pod.spec } },
  },
});

interface Translation {
  /** The rules by which it was made, as text. */
  readonly rules: string;
  readonly plan: PodPlan;
  readonly needed: Amounts;
}

/** Items don't change: a pod that waits for room is translated once, however often it is looked at. */
const translations = new WeakMap<ShadowItem, Translation>();

const translate = (item: ShadowItem, clusterID: string, rules: PodRules): Translation => {
  const known = translations.get(item);
  const text = JSON.stringify(rules);
  if (known?.rules === text) return known;
  const made = { rules: text, ...translateNow(item, clusterID, rules) };
  translations.set(item, made);
  return made;
};

const translateNow = (item: ShadowItem, clusterID: string, rules: PodRules): Omit<Translation, 'rules'> => {
  const plan = planPod({ ...item, clusterID }, rules.level);
  if (!plan.ok) return { plan, needed: {} };
  try {
    const spec = underRules(plan.pod.spec, rules);
    return { plan: { ok: true, pod: { ...plan.pod, spec } }, needed: podAmounts(spec) };
  } catch (error) {
    return { plan: { ok: false, reason: 'InvalidSpec', message: messageOf(error) }, needed: {} };
  }
};

/** As a pod that waits is translated once, it is measured once. */
const sizes = new WeakMap<ShadowItem, number>();
const sizeOf = (item: ShadowItem, shadow: ShadowPod): number => {
  const bytes = sizes.get(item) ?? bytesOf(shadow);
  sizes.set(item, bytes);
  return bytes;
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
  const grantName = `${consumer.link.peer}-${item.claim}`.slice(0, 253);
  const grant = context.grants.get(undefined, grantName);
  if (
    grant === undefined ||
    grant.metadata.deletionTimestamp !== undefined ||
    grant.spec.withdrawn === true ||
    grant.spec.peer !== consumer.link.peer
  ) {
    return refused('NoGrant', `nothing is granted for claim ${item.claim}`, true);
  }
  const { plan, needed } = translate(item, clusterID, context.podRules(clusterID));
  if (!plan.ok) return refused(plan.reason, plan.message);
  const ledgerKey = `${twin}/${state.name}`;
  const missing = context.ledger.reserve(
    ledgerKey,
    { grant: grantName, consumer: clusterID },
    { granted: grant.spec.resources, together: grant.spec.peerMaximum },
    needed,
  );
  if (missing.length > 0) return refused('QuotaExceeded', describeShortages(missing), true);
  const shadow = shadowOf(state, item, twin, grantName, plan.pod);
  const held = heldKey('ShadowPod', twin, state.name);
  const excess = context.holdings.admit(clusterID, held, podHolding(sizeOf(item, shadow)));
  if (excess !== undefined) {
    context.ledger.release(ledgerKey);
    return refused('LimitExceeded', excess.message, true);
  }
  try {
    await asPeeringCall(() =>
      context.asPeering(clusterID).create(SHADOW_POD, shadow, {
        fieldManager: FIELD_MANAGER,
        signal,
      }),
    );
  } catch (error) {
    // If it is there all the same, the informer said so, or will.
    if (context.shadows.get(twin, state.name) === undefined) context.holdings.release(held);
    // The cache will show it, or the one that was there before has gone.
    if (isAlreadyExists(error)) return { accepted: true };
    if (!isRefusal(error)) throw error;
    context.ledger.release(ledgerKey);
    return refused('Rejected', error.message);
  }
  return { accepted: true };
};
