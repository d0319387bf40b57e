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
import { isOf } from './object-key.ts';
import { isOfEveryNamespace, nameInTwin } from './name-in-twin.ts';
import { podManifest } from './plan-pod.ts';
import { judgeReference, referencesOf, type Found, type ObjectReference } from './plan-references.ts';
import { ForeignPodSpec } from './pod-schema.ts';
import type { ShadowState } from './shadow-state.ts';

export type PodCreation =
  | { readonly outcome: 'created' }
  /** Something that the pod refers to isn't here yet, or another's is. */
  | {
      readonly outcome: 'waiting';
      readonly topic: string;
      readonly reason: 'MissingReference' | 'ForeignReference' | 'LimitExceeded';
      readonly message: string;
    }
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

/** What stands in the twin in the place of an object that the pod refers to. */
const find = async (
  context: ProviderContext,
  clusterID: string,
  twin: string,
  { kind, name }: ObjectReference,
  signal: AbortSignal,
): Promise<Found> => {
  if (kind === 'PersistentVolumeClaim') {
    // The cache and nothing else: whatever stands there without the storage fabric's marks is not the consumer's.
    return isUsableClaim(context.volumeClaims.get(twin, name), clusterID) ? 'own' : 'absent';
  }
  if (isOfEveryNamespace(kind, name)) return 'own';
  const inTwin = nameInTwin(kind, name);
  const cached = context.reflected[kind].get(twin, inTwin);
  const found =
    cached ??
    (await asPeeringCall(() => context.asPeering(clusterID).get(REFLECTED[kind], inTwin, twin, { signal })));
  if (found === undefined) return 'absent';
  return isOf(clusterID, found) ? 'own' : 'foreign';
};

const waitingFor = (
  twin: string,
  { kind, name }: ObjectReference,
  isForeign: boolean,
  refusal: string | undefined,
): PodCreation => {
  const inTwin = nameInTwin(kind, name);
  const waiting = { outcome: 'waiting', topic: objectTopic(kind, twin, inTwin) } as const;
  if (isForeign) {
    const message = `${kind} ${name}: the peer has another object ${inTwin} in the namespace; its administrator must remove that`;
    return { ...waiting, reason: 'ForeignReference', message };
  }
  return refusal === undefined
    ? { ...waiting, reason: 'MissingReference', message: `waiting for ${kind} ${name}` }
    : { ...waiting, reason: 'LimitExceeded', message: `${kind} ${name} is not there: ${refusal}` };
};

/** Why the pod can't be made yet, by the first object that it refers to and that isn't its consumer's. */
const findObstacle = async (
  context: ProviderContext,
  state: ShadowState,
  twin: string,
  spec: ForeignPodSpec,
  signal: AbortSignal,
): Promise<PodCreation | undefined> => {
  for (const reference of referencesOf(spec)) {
    const id = `${reference.kind}/${state.homeNamespace}/${reference.name}`;
    const verdict = judgeReference(
      reference,
      await find(context, state.clusterID, twin, reference, signal),
      state.consumer?.objects.get(id) !== undefined,
    );
    const refusal = verdict === 'missing' ? context.refusals.of(state.clusterID, id) : undefined;
    if (verdict !== 'fine') return waitingFor(twin, reference, verdict === 'foreign', refusal);
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
  const spec = ForeignPodSpec.safeParse(shadow.spec.pod.spec);
  if (!spec.success) {
    // Not of Fluvia's making: it always writes what it understands.
    return { outcome: 'refused', reason: 'InvalidSpec', message: 'the ShadowPod’s spec is not understood' };
  }
  const obstacle = await findObstacle(context, state, shadow.metadata.namespace ?? '', spec.data, signal);
  if (obstacle !== undefined) return obstacle;
  try {
    await asPeeringCall(() =>
      context.asPeering(state.clusterID).create(POD, podManifest(shadow, spec.data, context.deps.image), {
        fieldManager: FIELD_MANAGER,
        signal,
      }),
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
