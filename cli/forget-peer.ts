import { fluviaRef } from '../deploy/manifests/refs.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { isNotFound } from '../runtime/kube/errors.ts';
import { NODE, type ResourceRef } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';

const ABOUT_A_PEER = ['VirtualNode', 'Claim', 'Grant', 'View', 'Offer'] as const;

/** Deletes an object although nobody takes its finalizers away. */
export const removeForSure = async (
  client: KubeClient,
  resource: ResourceRef,
  { metadata }: KubeObject,
): Promise<void> => {
  await client.delete(resource, metadata.name, metadata.namespace);
  try {
    const body = { metadata: { finalizers: null } };
    await client.patch(resource, metadata.name, metadata.namespace, body, { type: 'merge' });
  } catch (error) {
    if (!isNotFound(error)) {
      throw error;
    }
  }
};

/**
 * Removes a peer that is gone for good, where the controller can't end the peering in good order: its objects and the
 * nodes that stand for it. Pods on those nodes are then made again by their owners.
 */
export const forgetPeer = async (client: KubeClient, peer: string): Promise<void> => {
  for (const kind of ABOUT_A_PEER) {
    const resource = fluviaRef(kind);
    const { items } = await client.list<KubeObject & { readonly spec: { readonly peer?: string } }>(resource);
    for (const object of items.filter((item) => item.spec.peer === peer)) {
      if (kind === 'VirtualNode') {
        const node = await client.get(NODE, object.metadata.name);
        if (node !== undefined) {
          await removeForSure(client, NODE, node);
        }
      }
      await removeForSure(client, resource, object);
    }
  }
  const resource = fluviaRef('Peer');
  const object = await client.get(resource, peer);
  if (object !== undefined) {
    await removeForSure(client, resource, object);
  }
};
