/** Which ConfigMaps, Secrets and claims a pod refers to. */
import type { ForeignPodSpec } from './pod-schema.ts';

/** A ConfigMap, Secret or claim that a pod refers to. */
export interface ObjectReference {
  readonly kind: 'ConfigMap' | 'Secret' | 'PersistentVolumeClaim';
  readonly name: string;
  readonly optional: boolean;
}

interface Ref {
  readonly name: string;
  readonly optional?: boolean | undefined;
}

/** Every object that the pod's containers can't start without, and those that they would like to have. */
export const referencesOf = (spec: ForeignPodSpec): readonly ObjectReference[] => {
  const found = new Map<string, ObjectReference>();
  const add = (kind: ObjectReference['kind'], ref: Ref | undefined): void => {
    if (ref === undefined) return;
    const key = `${kind}/${ref.name}`;
    const optional = ref.optional === true && found.get(key)?.optional !== false;
    found.set(key, { kind, name: ref.name, optional });
  };
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      add('ConfigMap', configMapRef);
      add('Secret', secretRef);
    }
    for (const { valueFrom } of container.env ?? []) {
      add('ConfigMap', valueFrom?.configMapKeyRef);
      add('Secret', valueFrom?.secretKeyRef);
    }
  }
  for (const volume of spec.volumes ?? []) {
    add('ConfigMap', volume.configMap);
    add(
      'PersistentVolumeClaim',
      volume.persistentVolumeClaim && { name: volume.persistentVolumeClaim.claimName },
    );
    add('Secret', volume.secret && { name: volume.secret.secretName, optional: volume.secret.optional });
    for (const source of volume.projected?.sources ?? []) {
      add('ConfigMap', source.configMap);
      add('Secret', source.secret);
    }
  }
  for (const secret of spec.imagePullSecrets ?? []) add('Secret', { ...secret, optional: true });
  return [...found.values()];
};
