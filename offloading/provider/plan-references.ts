/** Which ConfigMaps, Secrets and claims a pod refers to, and under which names in the twin. */
import { nameInTwin } from './name-in-twin.ts';
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

/** What stands in the twin under the name of a reference. */
export type Found = 'own' | 'foreign' | 'absent';

/**
 * Whether the pod may be made as far as this reference goes. What it could do without is waited for only if it is known to
 * come (`comes`). Another's object is never referred to, not even optionally: the kubelet would hand it out.
 */
export const judgeReference = (
  { optional }: ObjectReference,
  found: Found,
  comes: boolean,
): 'fine' | 'missing' | 'foreign' => {
  if (found === 'foreign') return 'foreign';
  return found === 'own' || (optional && !comes) ? 'fine' : 'missing';
};

type Container = ForeignPodSpec['containers'][number];
type Volume = NonNullable<ForeignPodSpec['volumes']>[number];

const renamed = <R extends Ref | undefined>(kind: 'ConfigMap' | 'Secret', ref: R): R =>
  ref === undefined ? ref : { ...ref, name: nameInTwin(kind, ref.name) };

/** The two kinds of reference of an object that may hold either. */
const withRefs = <K extends string, T extends { readonly [Name in K]?: Ref | undefined }>(
  holder: T,
  configMap: K,
  secret: K,
): T => ({
  ...holder,
  ...(holder[configMap] === undefined ? {} : { [configMap]: renamed('ConfigMap', holder[configMap]) }),
  ...(holder[secret] === undefined ? {} : { [secret]: renamed('Secret', holder[secret]) }),
});

const containerInTwin = (container: Container): Container => ({
  ...container,
  ...(container.envFrom === undefined
    ? {}
    : { envFrom: container.envFrom.map((one) => withRefs(one, 'configMapRef', 'secretRef')) }),
  ...(container.env === undefined
    ? {}
    : {
        env: container.env.map((one) =>
          one.valueFrom === undefined
            ? one
            : { ...one, valueFrom: withRefs(one.valueFrom, 'configMapKeyRef', 'secretKeyRef') },
        ),
      }),
});

const volumeInTwin = (volume: Volume): Volume => ({
  ...volume,
  ...(volume.configMap === undefined ? {} : { configMap: renamed('ConfigMap', volume.configMap) }),
  ...(volume.secret === undefined
    ? {}
    : { secret: { ...volume.secret, secretName: nameInTwin('Secret', volume.secret.secretName) } }),
  ...(volume.projected?.sources === undefined
    ? {}
    : {
        projected: {
          ...volume.projected,
          sources: volume.projected.sources.map((one) => withRefs(one, 'configMap', 'secret')),
        },
      }),
});

/** What of a spec refers to objects, with the names that those have in the twin. */
export const withNamesInTwin = (
  spec: ForeignPodSpec,
): Pick<ForeignPodSpec, 'containers' | 'initContainers' | 'volumes' | 'imagePullSecrets'> => ({
  containers: spec.containers.map(containerInTwin),
  ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(containerInTwin) }),
  ...(spec.volumes === undefined ? {} : { volumes: spec.volumes.map(volumeInTwin) }),
  ...(spec.imagePullSecrets === undefined
    ? {}
    : { imagePullSecrets: spec.imagePullSecrets.map((one) => renamed('Secret', one)) }),
});
