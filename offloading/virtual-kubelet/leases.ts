import type { ControllerDeps } from '../../runtime/deps.ts';
import { isAlreadyExists, isNotFound } from '../../runtime/kube/errors.ts';
import { LEASE } from '../../runtime/kube/resources.ts';
import type { Node } from '../../runtime/kube/types.ts';
import { isVirtual, type Home } from '../consumer/home.ts';

/** Namespace of the nodes' Leases. */
export const NODE_LEASE_NAMESPACE = 'kube-node-lease';

const RENEW_MS = 5000;
const DURATION_SECONDS = 40;
const CONCURRENCY = 8;

/** `metav1.MicroTime`. */
export const microTime = (date: Date): string => date.toISOString().replace('Z', '000Z');

/**
 * Renews the Lease of every virtual Node while this leader lives, link or no link: only Fluvia judges its nodes, so the
 * controller-manager must never turn one Unknown. It sees a lost peer by the condition Ready=False that Fluvia posts.
 */
export const startLeases = (deps: ControllerDeps, home: Home, signal: AbortSignal): void => {
  const { client, clock, log } = deps;
  const renew = async (node: Node): Promise<void> => {
    const { name, uid } = node.metadata;
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: DURATION_SECONDS,
      renewTime: microTime(clock.now()),
    };
    try {
      await client.patch(LEASE, name, NODE_LEASE_NAMESPACE, { spec }, { type: 'merge', signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: uid ?? '' }];
      const metadata = { name, namespace: NODE_LEASE_NAMESPACE, ownerReferences };
      await client.create(LEASE, { metadata, spec }, { signal }).catch((err: unknown) => {
        if (!isAlreadyExists(err)) throw err;
      });
    }
  };
  const beat = async (nodes: readonly Node[]): Promise<void> => {
    for (let i = 0; i < nodes.length; i += CONCURRENCY) {
      const results = await Promise.allSettled(nodes.slice(i, i + CONCURRENCY).map(renew));
      for (const result of results) {
        if (result.status === 'rejected') {
          log.warn('node lease not renewed', {
            controller: 'offloading.lease',
            err: result.reason as unknown,
          });
        }
      }
    }
  };
  // A new Node doesn't wait for the next round: until its Lease is there it counts as never heard of.
  const stopListening = home.nodes.onChange((change) => {
    if (change.type === 'added' && isVirtual(change.object)) void beat([change.object]);
  });
  signal.addEventListener('abort', stopListening, { once: true });
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      await clock.sleep(RENEW_MS, signal);
      if (!signal.aborted) await beat(home.nodes.list().filter(isVirtual));
    }
  };
  void run();
};
