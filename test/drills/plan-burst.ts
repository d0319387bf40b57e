/** Judges where the pods of a burst ended. Pure. */

/** A real node. */
export interface BurstNode {
  readonly name: string;
  /** Millicores that no bound pod has requested. */
  readonly free: number;
}

/** A pod of the burst. */
export interface BurstPod {
  readonly name: string;
  readonly millicores: number;
  /** Bound to a virtual node at home. */
  readonly isAtPeer: boolean;
  /** The real node that it is bound to, at home or at its peer. */
  readonly node: string | undefined;
  readonly isRunning: boolean;
}

/** A Kubernetes quantity of cpu in millicores, rounded down. */
export const millicores = (quantity: string): number =>
  quantity.endsWith('m') ? Math.floor(Number(quantity.slice(0, -1))) : Math.floor(Number(quantity) * 1000);

/** Counts the pods, and names those that are pending though a real node has room for them. */
export const judgeBurst = (pods: readonly BurstPod[], nodes: readonly BurstNode[]) => {
  const roomiest = Math.max(0, ...nodes.map(({ free }) => free));
  const bound = pods.filter(({ node }) => node !== undefined);
  const pending = pods.filter(({ node }) => node === undefined);
  return {
    bound: bound.length,
    running: pods.filter(({ isRunning }) => isRunning).length,
    pending: pending.length,
    pendingAtPeers: pending.filter(({ isAtPeer }) => isAtPeer).length,
    stranded: pending
      .filter((pod) => pod.millicores <= roomiest)
      .map((pod) => `${pod.name} (${pod.millicores}m)`),
    taken: bound.reduce((sum, pod) => sum + pod.millicores, 0),
  };
};
