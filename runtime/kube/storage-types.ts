/** Shapes of the storage kinds; see `types.ts`. */
import type { KubeObject, ObjectReference, StatusCondition } from './types.ts';

export interface PersistentVolumeClaim extends KubeObject {
  readonly spec: {
    readonly accessModes?: readonly string[] | undefined;
    readonly resources?: { readonly requests?: Readonly<Record<string, string>> } | undefined;
    readonly storageClassName?: string | undefined;
    readonly volumeName?: string | undefined;
    readonly volumeMode?: string | undefined;
    readonly [key: string]: unknown;
  };
  readonly status?:
    | {
        readonly phase?: string | undefined;
        readonly capacity?: Readonly<Record<string, string>> | undefined;
        readonly conditions?: readonly StatusCondition[] | undefined;
      }
    | undefined;
}

export interface PersistentVolume extends KubeObject {
  readonly spec: {
    readonly capacity?: Readonly<Record<string, string>> | undefined;
    readonly accessModes?: readonly string[] | undefined;
    readonly claimRef?: ObjectReference | undefined;
    readonly persistentVolumeReclaimPolicy?: string | undefined;
    readonly storageClassName?: string | undefined;
    readonly nodeAffinity?: unknown;
    readonly [key: string]: unknown;
  };
  readonly status?: { readonly phase?: string | undefined } | undefined;
}

export interface StorageClass extends KubeObject {
  readonly provisioner: string;
  readonly reclaimPolicy?: string | undefined;
}

export interface Job extends KubeObject {
  readonly spec?: Readonly<Record<string, unknown>> | undefined;
  readonly status?:
    | {
        readonly conditions?: readonly StatusCondition[] | undefined;
        readonly active?: number | undefined;
        readonly succeeded?: number | undefined;
        readonly failed?: number | undefined;
      }
    | undefined;
}

/** Whether a StorageClass is the one for claims that name none. */
export const isDefaultClass = (storageClass: StorageClass): boolean =>
  storageClass.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
