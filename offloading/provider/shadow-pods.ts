/** Makes and ends the real pods of ShadowPods, as the peering. */
import { messageOf } from '../../api/errors.ts';
import { LABELS } from '../../api/labels.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { isAlreadyExists } from '../../runtime/kube/errors.ts';
import { POD } from '../../runtime/kube/resources.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { FIELD_MANAGER, REFLECTED, type ProviderContext } from './context.ts';
import { asPeeringCall, isRefusal } from './peering-errors.ts';
import { podManifest } from './plan-pod.ts';
import { referencesOf, type ObjectReference } from './plan-references.ts';
import { ForeignPodSpec } from './pod-schema.ts';
import type { ShadowState } from './shadow-state.ts';

export type PodCreation =
  | { readonly outcome: 'created' }
  /** Something that the pod refers to isn't here yet. */
  | { readonly outcome: 'waiting'; readonly topic: string; readonly message: string }
  | { readonly outcome: 'refused'; readonly reason: string; readonly message: string };

/** Name under which keys wait for a reflected object. */
export const objectTopic = (kind: string, namespace: string, name: string): string =>
  `object:${kind}/${namespace}/${name}`;

/** Whether a claim in the twin is an active volume of this consumer. */
const isUsableClaim = (claim: PersistentVolumeClaim | undefined, clusterID: string): boolean =>
  claim !== undefined &&
  claim.metadata.deletionTimestamp === undefined &&
  claim.metadata.labels?.[LABELS.origin] === clusterID &&
  claim.metadata.annotations?.[STORAGE_ANNOTATIONS.state] === 'active';

/** The first object that the pod needs and that isn't there. */
const findMissing = async (
  context: ProviderContext,
  state: ShadowState,
  shadow: ShadowPod,
  signal: AbortSignal,
): Promise<ObjectReference | undefined> => {
  const spec = ForeignPodSpec.safeParse(shadow.spec.pod.spec);
  const twin = shadow.metadata.namespace ?? '';
  for (const reference of spec.success ? referencesOf(spec.data) : []) {
    const { kind, name, optional } = reference;
    if (kind === 'PersistentVolumeClaim') {
      // The cache and nothing else: whatever stands there without the storage fabric's marks is not the consumer's.
      if (!isUsableClaim(context.volumeClaims.get(twin, name), state.clusterID)) return reference;
      continue;
    }
    if (context.reflected[kind].get(twin, name) !== undefined) continue;
    // What the pod could do without counts only when it is known to come.
    const comes = state.consumer?.objects.get(`${kind}/${state.homeNamespace}/${name}`) !== undefined;
    if (optional && !comes) continue;
    const found = await asPeeringCall(() =>
      context.asPeering(state.clusterID).get(REFLECTED[kind], name, twin, { signal }),
    );
    if (found === undefined) return reference;
  }
  return undefined;
};

/**
 * Makes the pod of a ShadowPod once what it refers to is there.
 * @throws what may be tried again.
 */
export const createShadowPod = async (
  context: ProviderContext,
  state: ShadowState,
  shadow: ShadowPod,
  signal: AbortSignal,
): Promise<PodCreation> => {
  const missing = await findMissing(context, state, shadow, signal);
  if (missing !== undefined) {
    return {
      outcome: 'waiting',
      topic: objectTopic(missing.kind, shadow.metadata.namespace ?? '', missing.name),
      message: `waiting for ${missing.kind} ${missing.name}`,
    };
  }
  try {
    await asPeeringCall(() =>
      context
        .asPeering(state.clusterID)
        .create(POD, podManifest(shadow, context.deps.image), { fieldManager: FIELD_MANAGER, signal }),
    );
    return { outcome: 'created' };
  } catch (error) {
    if (isAlreadyExists(error)) return judgeExisting(context, state, shadow, signal);
    if (isRefusal(error)) return { outcome: 'refused', reason: 'Rejected', message: messageOf(error) };
    throw error;
  }
};

/** Ours, when the cache is merely behind; else another's, which is never touched. */
const judgeExisting = async (
  context: ProviderContext,
  state: ShadowState,
  shadow: ShadowPod,
  signal: AbortSignal,
): Promise<PodCreation> => {
  const { name, namespace } = shadow.metadata;
  const existing = await asPeeringCall(() =>
    context.asPeering(state.clusterID).get(POD, name, namespace ?? '', { signal }),
  );
  const owned = existing?.metadata.ownerReferences?.some(({ kind }) => kind === 'ShadowPod') ?? true;
  return owned
    ? { outcome: 'created' }
    : { outcome: 'refused', reason: 'Conflict', message: `there is another pod ${name} in the twin` };
};

/** Deletes exactly the pod that was observed; `graceSeconds` undefined means its own. */
export const deleteShadowPod = (
  context: ProviderContext,
  state: ShadowState,
  uid: string,
  graceSeconds: number | undefined,
  signal: AbortSignal,
): Promise<boolean> =>
  asPeeringCall(() =>
    context.asPeering(state.clusterID).delete(POD, state.name, state.twin ?? '', {
      uid,
      gracePeriodSeconds: graceSeconds,
      signal,
    }),
  );
