/** Finalizers: added before the first thing that must be cleaned up is made, removed after the last one is gone. */
import type { CallOptions, KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import type { ResourceRef } from './resources.ts';
import type { HasMetadata } from './types.ts';

/** hasFinalizer tells whether the object carries the finalizer. */
export const hasFinalizer = (object: HasMetadata, finalizer: string): boolean =>
  object.metadata.finalizers?.includes(finalizer) ?? false;

/** isDeleting tells whether the object waits for its finalizers. */
export const isDeleting = (object: HasMetadata): boolean => object.metadata.deletionTimestamp !== undefined;

const write = async <T extends HasMetadata>(
  client: KubeClient,
  res: ResourceRef,
  object: T,
  finalizers: readonly string[],
  options: CallOptions,
): Promise<T | undefined> => {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  // The version makes it a conflict when someone else changed the list meanwhile, so that no finalizer is lost.
  const body = { metadata: { uid, resourceVersion, finalizers } };
  try {
    return await client.patch<T>(res, name, namespace, body, { type: 'merge', ...options });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
};

/**
 * addFinalizer returns the object with the finalizer, undefined when it is gone. Does nothing when it has it, or is being
 * deleted (the API server would refuse).
 * @throws {ApiError} conflict when `object` isn't the newest version.
 */
export const addFinalizer = async <T extends HasMetadata>(
  client: KubeClient,
  res: ResourceRef,
  object: T,
  finalizer: string,
  options: CallOptions = {},
): Promise<T | undefined> =>
  hasFinalizer(object, finalizer) || isDeleting(object)
    ? object
    : write(client, res, object, [...(object.metadata.finalizers ?? []), finalizer], options);

/**
 * removeFinalizer returns the object without the finalizer, undefined when it is gone.
 * @throws {ApiError} conflict when `object` isn't the newest version.
 */
export const removeFinalizer = async <T extends HasMetadata>(
  client: KubeClient,
  res: ResourceRef,
  object: T,
  finalizer: string,
  options: CallOptions = {},
): Promise<T | undefined> =>
  hasFinalizer(object, finalizer)
    ? write(
        client,
        res,
        object,
        (object.metadata.finalizers ?? []).filter((name) => name !== finalizer),
        options,
      )
    : object;
