/** Keys and marks of reflected objects. */
import { createHash } from 'node:crypto';
import { ANNOTATIONS, LABELS } from '../../api/labels.ts';
import type { HasMetadata } from '../../runtime/kube/types.ts';
import { REFLECTED } from './context.ts';
import type { ReflectedKind, ReflectedManifest } from './plan-object.ts';

/** The reflected kinds. */
export const KINDS = Object.keys(REFLECTED) as readonly ReflectedKind[];

/** An object of a consumer. */
export interface ObjectKey {
  readonly clusterID: string;
  readonly kind: ReflectedKind;
  readonly homeNamespace: string;
  readonly name: string;
  /** Of the item. */
  readonly id: string;
}

/** Of `<cluster ID>/<kind>/<home namespace>/<name>`; undefined for anything else. */
export const splitKey = (key: string): ObjectKey | undefined => {
  const [clusterID = '', kindName = '', homeNamespace = '', name = ''] = key.split('/');
  const kind = KINDS.find((one) => one === kindName);
  return kind === undefined || name === ''
    ? undefined
    : { clusterID, kind, homeNamespace, name, id: `${kind}/${homeNamespace}/${name}` };
};

/**
 * Tells news from drift. Not for Secrets: `kubectl describe` hides their values but shows annotations, and of a short
 * value its hash is as good as the value.
 */
export const withHash = (kind: ReflectedKind, manifest: ReflectedManifest): ReflectedManifest =>
  kind === 'Secret'
    ? manifest
    : {
        ...manifest,
        metadata: {
          ...manifest.metadata,
          annotations: {
            ...manifest.metadata.annotations,
            [ANNOTATIONS.hash]: createHash('sha256')
              .update(JSON.stringify(manifest))
              .digest('hex')
              .slice(0, 32),
          },
        },
      };

/** Whether an object was made here for this consumer. */
export const isOf = (clusterID: string, object: HasMetadata): boolean =>
  object.metadata.labels?.[LABELS.reflected] === 'true' &&
  object.metadata.labels[LABELS.origin] === clusterID;
