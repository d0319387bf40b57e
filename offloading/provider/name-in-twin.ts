/**
 * The names that consumers' ConfigMaps and Secrets have in twins. Not those of home: a pod could else refer to what
 * something of this cluster puts into every namespace under a name that can be guessed (registry credentials, certificates),
 * also where it comes later than the pod, or where home takes its own object of that name away while the pod runs.
 */
import { createHash } from 'node:crypto';
import { ANNOTATIONS } from '../../api/labels.ts';
import type { HasMetadata } from '../../runtime/kube/types.ts';

/** No object of this cluster has such a name, but one that somebody made for a pod in a twin. */
const SUFFIX = '.fluvia';
const MAX_NAME = 253;
const HASH_LENGTH = 32;

/** ConfigMaps that Kubernetes keeps in every namespace, without a secret: pods may refer to the one that is there. */
const OF_EVERY_NAMESPACE = new Set(['ConfigMap/kube-root-ca.crt']);

/** Whether it is an object that stands in every namespace, and so is never reflected. */
export const isOfEveryNamespace = (kind: string, name: string): boolean =>
  OF_EVERY_NAMESPACE.has(`${kind}/${name}`);

/** The name in a twin of what home calls `name`. Services and EndpointSlices keep theirs: it is their name in the DNS. */
export const nameInTwin = (kind: string, name: string): string => {
  if (!['ConfigMap', 'Secret'].includes(kind) || isOfEveryNamespace(kind, name)) return name;
  if (name.length + SUFFIX.length <= MAX_NAME) return `${name}${SUFFIX}`;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASH_LENGTH);
  const head = name.slice(0, MAX_NAME - SUFFIX.length - HASH_LENGTH - 1).replace(/[-.]+$/, '');
  return `${head}-${hash}${SUFFIX}`;
};

/** Home's name of a reflected object; undefined for one that doesn't have the name that it should have here. */
export const nameAtHome = (kind: string, { metadata }: HasMetadata): string | undefined => {
  const name = metadata.annotations?.[ANNOTATIONS.originName] ?? metadata.name;
  return nameInTwin(kind, name) === metadata.name ? name : undefined;
};
