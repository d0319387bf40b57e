/** Which node holds the tunnels. */
import { isConditionTrue } from '../api/conditions.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';

/** Age of a heartbeat beyond which an agent counts as gone: four are missed. */
export const HEARTBEAT_LIMIT_MS = 40_000;

export interface GatewayNodeRequest {
  readonly fabricNodes: readonly FabricNode[];
  /** Nodes that Kubernetes calls Ready. */
  readonly readyNodes: ReadonlySet<string>;
  /** The node that holds them now. */
  readonly current: string | undefined;
  readonly nowMs: number;
}

/** Whether the node's agent is alive and its node as it should be. */
export const isServing = (node: FabricNode, nowMs: number): boolean =>
  node.metadata.deletionTimestamp === undefined &&
  nowMs - Date.parse(node.status?.heartbeatAt ?? '') < HEARTBEAT_LIMIT_MS &&
  isConditionTrue(node.status?.conditions, 'Ready');

/** How long the node that holds the tunnels may be unwell before they move: a failed round is mostly tried again. */
export const UNWELL_LIMIT_MS = 60_000;

const isTolerable = (node: FabricNode, nowMs: number): boolean => {
  const ready = node.status?.conditions?.find((item) => item.type === 'Ready');
  const isAlive = nowMs - Date.parse(node.status?.heartbeatAt ?? '') < HEARTBEAT_LIMIT_MS;
  return (
    node.metadata.deletionTimestamp === undefined &&
    isAlive &&
    (ready?.status === 'True' || nowMs - Date.parse(ready?.lastTransitionTime ?? '') < UNWELL_LIMIT_MS)
  );
};

/**
 * planGatewayNode keeps the current node as long as it serves or nobody else can; moving costs a gap in all tunnels.
 * Undefined: no node can.
 */
export const planGatewayNode = (request: GatewayNodeRequest): string | undefined => {
  const { fabricNodes, readyNodes, current, nowMs } = request;
  const candidates = fabricNodes
    .filter((node) => readyNodes.has(node.metadata.name) && isServing(node, nowMs))
    .map((node) => node.metadata.name)
    .sort();
  const present = fabricNodes.find((node) => node.metadata.name === current);
  if (present !== undefined && readyNodes.has(present.metadata.name) && isTolerable(present, nowMs)) {
    return current;
  }
  const isThere = present !== undefined && present.metadata.deletionTimestamp === undefined;
  return candidates[0] ?? (isThere ? current : undefined);
};
