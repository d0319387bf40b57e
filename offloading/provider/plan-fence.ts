/** What the leader asks home, and tells the agents of this cluster. */
import type { FenceAnswer } from '../../api/fence-collections.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import { CONTROLLER } from './fence-leases.ts';

/** Part of a FabricNode that carries the answers. */
export type NodeFence = NonNullable<FabricNode['spec']['fence']>;

/** A `fence` pod of a consumer on a node. */
export interface FencedPod {
  readonly clusterID: string;
  readonly uid: string;
  readonly node: string;
}

/** An agent's name among the enforcers. */
export const enforcerOf = (node: string): string => `node/${node}`;

/** An ask is made this long after the last one: several may be lost before a lease ends. */
export const askEveryMs = (leaseSeconds: number): number => Math.max(500, (leaseSeconds * 1000) / 4);

/** The asks of all enforcers. Agents that haven't asked aren't named. */
export const planAsks = (own: number, nodes: readonly FabricNode[]): Record<string, number> => ({
  [CONTROLLER]: own,
  ...Object.fromEntries(
    nodes.flatMap((node) =>
      node.status?.fenceAsk === undefined
        ? []
        : [[enforcerOf(node.metadata.name), node.status.fenceAsk] as const],
    ),
  ),
});

/** Most pods of one consumer on a node. */
const MAX_PODS = 1000;

/**
 * What each node is told: of every consumer with pods there, the newest answer as far as it concerns them. A node without
 * such pods is told nothing, so that its agent asks nothing.
 */
export const planNodeFences = (
  pods: readonly FencedPod[],
  answers: ReadonlyMap<string, FenceAnswer>,
): ReadonlyMap<string, NodeFence> => {
  const nodes = new Map<string, Map<string, Set<string>>>();
  for (const { clusterID, uid, node } of pods) {
    const clusters = nodes.get(node) ?? new Map<string, Set<string>>();
    nodes.set(node, clusters.set(clusterID, (clusters.get(clusterID) ?? new Set()).add(uid)));
  }
  const listed = new Map([...answers].map(([id, answer]) => [id, new Set(answer.pods)]));
  const fenceOf = (node: string, clusterID: string, uids: ReadonlySet<string>): NodeFence[number] => ({
    clusterID,
    ask: answers.get(clusterID)?.asks[enforcerOf(node)] ?? 0,
    leaseSeconds: answers.get(clusterID)?.leaseSeconds ?? 20,
    pods: [...uids]
      .filter((uid) => listed.get(clusterID)?.has(uid) === true)
      .sort()
      .slice(0, MAX_PODS),
  });
  return new Map(
    [...nodes].map(([node, clusters]) => [
      node,
      [...clusters]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([clusterID, uids]) => fenceOf(node, clusterID, uids)),
    ]),
  );
};

/** Left of S for noticing the lease's end and for the API server and kubelet to begin the stop. */
const NOTICE_SECONDS = 2;

/** Grace of a pod that must stop because its lease has ended. */
export const fenceGraceSeconds = (stopSeconds: number, podGraceSeconds: number): number =>
  Math.max(1, Math.min(podGraceSeconds, stopSeconds - NOTICE_SECONDS));
