import { placeholderName, STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { FIELD_MANAGER } from './home-volumes.ts';
import type { SwapStep } from './plan-swap.ts';

/** Does the steps of {@link planSwap}. */
export interface SwapActor {
  act(id: string, step: SwapStep): Promise<void>;
}

/** Whether a step changes something, so that the next one follows soon. */
export const isWrite = (step: SwapStep): boolean => step.do !== 'nothing' && step.do !== 'wait';

/** Each write names the version that was seen; one that was overtaken does nothing, and is planned again. */
export const createSwapActor = ({ client, log }: ControllerDeps, signal: AbortSignal): SwapActor => {
  const options = { type: 'merge', fieldManager: FIELD_MANAGER, signal } as const;
  const patchVolume = (
    { metadata }: PersistentVolume,
    change: object,
    more: object = {},
  ): Promise<unknown> => {
    const { name, uid, resourceVersion } = metadata;
    const body = { metadata: { uid, resourceVersion, ...change }, ...more };
    return client.patch(PERSISTENT_VOLUME, name, undefined, body, options);
  };
  const annotate = (
    { metadata }: PersistentVolumeClaim,
    annotations: Readonly<Record<string, string | null>>,
  ): Promise<unknown> => {
    const { name, namespace, uid, resourceVersion } = metadata;
    const body = { metadata: { uid, resourceVersion, annotations } };
    return client.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, body, options);
  };

  const doStep = async (id: string, step: SwapStep): Promise<unknown> => {
    switch (step.do) {
      case 'nothing':
      case 'wait':
        return undefined;
      case 'keep': {
        const { metadata, spec } = step.real;
        // What it was is written once: the policy that the class gave it.
        const was =
          metadata.annotations?.[STORAGE_ANNOTATIONS.reclaimPolicy] ??
          spec.persistentVolumeReclaimPolicy ??
          'Delete';
        return patchVolume(
          step.real,
          { annotations: { [STORAGE_ANNOTATIONS.reclaimPolicy]: was } },
          { spec: { persistentVolumeReclaimPolicy: 'Retain' } },
        );
      }
      case 'record':
        return annotate(step.homeClaim, { [STORAGE_ANNOTATIONS.swap]: JSON.stringify(step.record) });
      case 'delete': {
        const { uid, resourceVersion } = step;
        return client.delete(PERSISTENT_VOLUME, placeholderName(id), undefined, {
          uid,
          resourceVersion,
          signal,
        });
      }
      case 'release':
        return patchVolume(step.volume, { finalizers: step.finalizers });
      case 'create':
        return client.create(PERSISTENT_VOLUME, step.volume, { fieldManager: FIELD_MANAGER, signal });
      case 'touch':
        return annotate(step.claim, { [STORAGE_ANNOTATIONS.rebound]: step.uid });
      case 'forget':
        return annotate(step.homeClaim, { [STORAGE_ANNOTATIONS.swap]: null });
      default:
        return step satisfies never;
    }
  };
  return {
    act: async (id, step) => {
      try {
        await doStep(id, step);
      } catch (error) {
        if (!isConflict(error) && !isNotFound(error) && !isAlreadyExists(error)) throw error;
      }
      if (isWrite(step))
        log.info('volume source', { controller: 'storage.volume', volume: id, step: step.do });
      if (step.do === 'wait')
        log.debug('volume source', { controller: 'storage.volume', volume: id, waits: step.message });
    },
  };
};
