import type { Container, PodSpec } from '../../runtime/kube/types.ts';
import { isTokenVolume } from './plan-floatable.ts';

/** Kinds that a pod refers to and that cross with it. */
export type ConfigKind = 'ConfigMap' | 'Secret';

/** What home has of an object: `kept` is there, but never leaves home. */
export type AtHome = 'there' | 'kept' | 'missing';

interface Ref {
  readonly name?: string;
  readonly optional?: boolean;
}
type Found = readonly [ConfigKind, Ref | undefined];
type Sources = readonly { readonly configMap?: Ref; readonly secret?: Ref }[];

const ofContainer = (container: Container): readonly Found[] => [
  ...(container.env ?? []).flatMap(({ valueFrom }): readonly Found[] => [
    ['ConfigMap', valueFrom?.configMapKeyRef],
    ['Secret', valueFrom?.secretKeyRef],
  ]),
  ...(container.envFrom ?? []).flatMap((source): readonly Found[] => [
    ['ConfigMap', source.configMapRef],
    ['Secret', source.secretRef],
  ]),
];

const ofVolumes = (spec: PodSpec): readonly Found[] =>
  (spec.volumes ?? [])
    .filter((volume) => !isTokenVolume(volume))
    .flatMap((volume): readonly Found[] => {
      const secret = volume.secret as (Ref & { readonly secretName?: string }) | undefined;
      return [
        ['ConfigMap', volume.configMap],
        ['Secret', secret && { ...secret, name: secret.secretName ?? '' }],
        ...((volume.projected?.sources ?? []) as Sources).flatMap((source): readonly Found[] => [
          ['ConfigMap', source.configMap],
          ['Secret', source.secret],
        ]),
      ];
    });

/**
 * Why the peer waits for what the pod can't start without, one text per object; empty when all of it is at home, and so on
 * its way. `look` tells what home has.
 */
export const planMissing = (spec: PodSpec, look: (kind: ConfigKind, name: string) => AtHome): string[] => {
  const found = [
    ...[...(spec.initContainers ?? []), ...spec.containers].flatMap(ofContainer),
    ...ofVolumes(spec),
  ];
  const texts = found.flatMap(([kind, ref]) => {
    if (ref?.name === undefined || ref.name === '' || ref.optional === true) return [];
    const state = look(kind, ref.name);
    if (state === 'there') return [];
    return [
      state === 'kept'
        ? `${kind} ${ref.name} is kept at home and not sent to peers`
        : `${kind} ${ref.name} does not exist in this namespace`,
    ];
  });
  return [...new Set(texts)];
};
