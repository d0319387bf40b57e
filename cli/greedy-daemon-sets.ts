import { LABELS, VIRTUAL_NODE_TAINT } from '../api/labels.ts';
import type { KubeObject } from '../runtime/kube/types.ts';

/** What of a DaemonSet tells whether its pods would land on virtual nodes. */
export interface DaemonSetView extends KubeObject {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly tolerations?: readonly {
          readonly key?: string;
          readonly operator?: string;
          readonly effect?: string;
        }[];
        readonly affinity?: unknown;
      };
    };
  };
}

const isGreedy = ({ spec }: DaemonSetView): boolean => {
  const { tolerations = [], affinity = {} } = spec.template.spec;
  const toleratesAll = tolerations.some(
    ({ key = '', operator, effect = '' }) =>
      operator === 'Exists' && key === '' && (effect === '' || effect === 'NoSchedule'),
  );
  return toleratesAll && !JSON.stringify(affinity).includes(LABELS.virtualNode);
};

/**
 * A warning for each DaemonSet that was there before Fluvia and tolerates every taint: its pods would also be bound to the
 * nodes that stand for peers, and wait there for ever. With the policy in the cluster, restarting it is enough.
 */
export const daemonSetWarnings = (
  daemonSets: readonly DaemonSetView[],
  hasPolicy: boolean,
): readonly string[] =>
  daemonSets.filter(isGreedy).map(({ metadata: { name, namespace = 'default' } }) => {
    const remedy = hasPolicy
      ? `restart it once, and a policy adds what keeps it off them: kubectl -n ${namespace} rollout restart daemonset ${name}`
      : `add to its template a required node affinity: ${LABELS.virtualNode} DoesNotExist`;
    return `DaemonSet ${namespace}/${name} tolerates every taint, also ${VIRTUAL_NODE_TAINT} of the nodes that stand for peers; ${remedy}`;
  });
