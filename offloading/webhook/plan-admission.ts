import { FLOAT_GATE, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { controllerOf } from '../../api/owners.ts';
import type { Pod } from '../../runtime/kube/types.ts';

/** Strategy of the namespace, as the webhook's path tells it (the request doesn't carry the namespace's labels). */
export type AdmittedStrategy = 'remote' | 'local-and-remote';

/** One operation of RFC 6902. */
export interface JsonPatchOperation {
  readonly op: 'add';
  readonly path: string;
  readonly value: unknown;
}

/** What admission knows of a pod that is being created: neither its final name nor whether quota passes. */
export interface AdmissionInput {
  readonly pod: Pick<Pod, 'metadata' | 'spec'>;
  readonly strategy: AdmittedStrategy;
  /** Whether a leader lives that would take the gate off again. */
  readonly leaderAlive: boolean;
}

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

const staysAsItIs = ({ pod, strategy, leaderAlive }: AdmissionInput): boolean =>
  (pod.spec.nodeName ?? '') !== '' ||
  pod.metadata.annotations?.[MIRROR_ANNOTATION] !== undefined ||
  controllerOf(pod)?.kind === 'DaemonSet' ||
  (strategy !== 'remote' && !leaderAlive);

const append = (list: string, existing: readonly unknown[] | undefined, value: unknown): JsonPatchOperation =>
  existing === undefined
    ? { op: 'add', path: `/spec/${list}`, value: [value] }
    : { op: 'add', path: `/spec/${list}/-`, value };

/**
 * The patch of a pod that is being created in an opened namespace: it tolerates virtual nodes and waits at the gate.
 * Nothing else, and nothing twice. Pods of DaemonSets, mirror pods and pods with a node stay as they are; so does
 * everything that may run at home while no leader lives, so that a broken Fluvia never holds it up.
 */
export const planAdmission = (input: AdmissionInput): readonly JsonPatchOperation[] => {
  if (staysAsItIs(input)) return [];
  const { tolerations, schedulingGates } = input.pod.spec;
  const isTolerant = tolerations?.some(
    (t) => t.key === VIRTUAL_NODE_TAINT && t.operator === 'Exists' && (t.effect ?? '') === '',
  );
  const isGated = schedulingGates?.some((gate) => gate.name === FLOAT_GATE);
  return [
    ...(isTolerant === true
      ? []
      : [append('tolerations', tolerations, { key: VIRTUAL_NODE_TAINT, operator: 'Exists' })]),
    ...(isGated === true ? [] : [append('schedulingGates', schedulingGates, { name: FLOAT_GATE })]),
  ];
};
