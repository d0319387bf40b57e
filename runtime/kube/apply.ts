/** Small helpers for writing objects and their status so that an unchanged world makes no writes. */
import { setCondition, type Condition, type ConditionInput } from '../../api/conditions.ts';
import type { KubeClient, WriteOptions } from './client.ts';
import { isConflict } from './errors.ts';
import type { ResourceRef } from './resources.ts';
import type { HasMetadata, KubeObject, Manifest } from './types.ts';

/** equalJson tells whether two values are the same JSON; a key with the value undefined counts as absent. */
export const equalJson = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Readonly<Record<string, unknown>>;
  const right = b as Readonly<Record<string, unknown>>;
  const leftKeys = Object.keys(left).filter((key) => left[key] !== undefined);
  const rightKeys = Object.keys(right).filter((key) => right[key] !== undefined);
  return leftKeys.length === rightKeys.length && leftKeys.every((key) => equalJson(left[key], right[key]));
};

/** containsJson tells whether `actual` has all that `wanted` says; lists must be equal in length, item by item. */
export const containsJson = (actual: unknown, wanted: unknown): boolean => {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((item, index) => containsJson(actual[index], item))
    );
  }
  if (typeof wanted !== 'object' || wanted === null) return Object.is(actual, wanted);
  if (typeof actual !== 'object' || actual === null) return false;
  const have = actual as Readonly<Record<string, unknown>>;
  return Object.entries(wanted).every(
    ([key, value]) => value === undefined || containsJson(have[key], value),
  );
};

/** StatusOptions: `fieldManager` owns the status as a whole. */
export interface StatusOptions {
  readonly fieldManager: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * upsertStatus makes the object's status equal to `status` by server-side apply, and does nothing when it is already. Fields
 * that this field manager set before and that are missing now are removed.
 * @returns whether it wrote.
 */
export const upsertStatus = async <Status>(
  client: KubeClient,
  res: ResourceRef,
  object: HasMetadata & { readonly status?: Status },
  status: Status,
  options: StatusOptions,
): Promise<boolean> => {
  if (equalJson(object.status, status)) return false;
  const { name, namespace, uid } = object.metadata;
  const manifest = { metadata: { name, namespace, uid }, status };
  await client.apply(res, manifest, { ...options, subresource: 'status', force: true });
  return true;
};

/** withConditions sets several conditions at once; `now` is RFC 3339. */
export const withConditions = (
  existing: readonly Condition[] | undefined,
  inputs: readonly ConditionInput[],
  now: string,
): Condition[] =>
  inputs.reduce<Condition[]>((all, input) => setCondition(all, input, now), [...(existing ?? [])]);

/**
 * ensure applies `manifest` as the owner of its fields, taking them over from others. When `existing` already says the same,
 * nothing is written.
 * @returns the object as stored.
 */
export const ensure = async <T = KubeObject>(
  client: KubeClient,
  res: ResourceRef,
  manifest: Manifest,
  options: WriteOptions & { readonly fieldManager: string; readonly existing?: T | undefined },
): Promise<T> => {
  const { existing, ...rest } = options;
  if (existing !== undefined && containsJson(existing, manifest)) return existing;
  return client.apply<T>(res, manifest, { ...rest, force: true });
};

/**
 * retryOnConflict reads, changes and writes again while others win the race, at most five times.
 * @throws the last conflict, and every other error at once.
 */
export const retryOnConflict = async <T>(attempt: () => Promise<T>): Promise<T> => {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!isConflict(error) || tries >= 5) throw error;
    }
  }
};
