import type { ObjectMeta, OwnerReference } from './define-kind.ts';

/** The owner that makes an object again when it goes; undefined for a bare one. */
export const controllerOf = ({
  metadata,
}: {
  readonly metadata: Pick<ObjectMeta, 'ownerReferences'>;
}): OwnerReference | undefined => metadata.ownerReferences?.find(({ controller }) => controller === true);
