/** What home does when a peer is lost: which of its pods are replaced, and when a held pod may go. */
import { ANNOTATIONS, FINALIZERS } from '../../api/labels.ts';
import { controllerOf } from '../../api/owners.ts';
import { FloatPolicyKind, OnLoss, type FloatPolicy } from '../../api/v1alpha1/float-policy.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { isTerminal } from './plan-status.ts';

/** What the FloatPolicy says about loss, with the schema's defaults where there is none. */
export type LossPolicy = Pick<
  FloatPolicy['spec'],
  'onLoss' | 'hysteresisSeconds' | 'graceSeconds' | 'leaseSeconds' | 'stopSeconds' | 'replaceWhenAllLost'
>;

const DEFAULTS: LossPolicy = FloatPolicyKind.spec.parse({});

/** The policy in force. */
export const lossPolicyOf = (policy: FloatPolicy | undefined): LossPolicy => ({
  ...DEFAULTS,
  ...policy?.spec,
});

/**
 * Whether a pod at a peer has a volume of class `fluvia`, and with it data that a second writer would part from the first's.
 * Claims of other classes never leave home, so that any claim will do, also one that no cache shows yet.
 */
const hasVolume = (pod: Pod): boolean =>
  pod.spec.volumes?.some(({ persistentVolumeClaim }) => persistentVolumeClaim !== undefined) === true;

/** What holds for a pod: its annotation, else the policy, else by what owns it and whether it has a volume. */
export const onLossOf = (pod: Pod, policy: LossPolicy): OnLoss => {
  const told = OnLoss.safeParse(pod.metadata.annotations?.[ANNOTATIONS.onLoss]);
  if (told.success) return told.data;
  if (policy.onLoss !== undefined) return policy.onLoss;
  const owner = controllerOf(pod);
  if (owner === undefined) return 'wait';
  return owner.kind === 'StatefulSet' || hasVolume(pod) ? 'fence' : 'replace';
};

/** Whether the pod carries the fence's finalizer, and so is fenced for as long as it lives, whatever is said later. */
export const isHeld = (pod: Pod): boolean => pod.metadata.finalizers?.includes(FINALIZERS.floated) === true;

/** Whether the pod must get the finalizer before its peer hears of it. */
export const needsHold = (pod: Pod, policy: LossPolicy): boolean =>
  !isHeld(pod) && pod.metadata.deletionTimestamp === undefined && onLossOf(pod, policy) === 'fence';

/** Losses that begin within this time are one event: more likely home's own. */
const AT_ONCE_MS = 60_000;

/**
 * Whether home must suspect itself: it lost every one of several peers at once. With a single peer there is nothing to
 * compare with; it counts as lost, or a fabric of two clusters would never fail over.
 * @param lostForMs one entry per provider peer; undefined: not lost.
 */
export const suspectsItself = (lostForMs: readonly (number | undefined)[]): boolean => {
  const lost = lostForMs.filter((ms) => ms !== undefined);
  if (lost.length < 2 || lost.length < lostForMs.length) return false;
  return Math.max(...lost) - Math.min(...lost) <= AT_ONCE_MS;
};

export interface LossWorld {
  readonly pod: Pod;
  readonly policy: LossPolicy;
  /** How long its peer is lost; undefined: it isn't. */
  readonly lostForMs: number | undefined;
  readonly suspectsItself: boolean;
}

/** `replace`: delete the pod at home so that its owner makes another. `wait`: look again after so long. */
export type LossPlan =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'replace'; readonly fenced: boolean };

/**
 * What to do about a pod whose peer may be lost. A bare pod is never deleted: nobody would make another. Of a fenced pod
 * the deletion only begins here; its finalizer holds it until no copy can run any more.
 */
export const planLoss = ({ pod, policy, lostForMs, suspectsItself: suspects }: LossWorld): LossPlan => {
  if (lostForMs === undefined || pod.metadata.deletionTimestamp !== undefined) return { do: 'nothing' };
  if (isTerminal(pod.status?.phase)) return { do: 'nothing' };
  const owner = controllerOf(pod);
  const fenced = isHeld(pod);
  const mode = fenced ? 'fence' : onLossOf(pod, policy);
  // Not held yet: it was published as another kind, so no lease bounds its life.
  if (owner === undefined || mode === 'wait' || (mode === 'fence' && !fenced)) return { do: 'nothing' };
  const leftMs = policy.graceSeconds * 1000 - lostForMs;
  if (leftMs > 0) return { do: 'wait', ms: leftMs };
  if (suspects && !policy.replaceWhenAllLost) return { do: 'nothing' };
  return { do: 'replace', fenced };
};

export interface ReleaseWorld {
  readonly pod: Pod;
  /** The provider's word that this very pod is gone, or never was. */
  readonly isToldOver: boolean;
  /** Until no copy can run at the peer any more. */
  readonly untilSafeMs: number;
}

/** Whether a pod may leave home's API for good; a fenced one only by the provider's word or after the safe time. */
export const planRelease = ({ pod, isToldOver, untilSafeMs }: ReleaseWorld): { readonly waitMs: number } =>
  isHeld(pod) && !isToldOver ? { waitMs: untilSafeMs } : { waitMs: 0 };
