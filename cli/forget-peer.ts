import { FINALIZERS, LABELS, NAMES, PEERS_NAMESPACE, SYSTEM_NAMESPACE } from '../api/labels.ts';
import type { NamespaceOffloading } from '../api/v1alpha1/namespace-offloading.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import { fluviaRef } from '../deploy/manifests/refs.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { isNotFound } from '../runtime/kube/errors.ts';
import { LEASE, NAMESPACE, NODE, POD, SERVICE_ACCOUNT, type ResourceRef } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';

const ABOUT_A_PEER = ['VirtualNode', 'Claim', 'Grant', 'View', 'Offer'] as const;

const stripFinalizers = async (
  client: KubeClient,
  resource: ResourceRef,
  { metadata }: KubeObject,
): Promise<void> => {
  if ((metadata.finalizers ?? []).length === 0) {
    return;
  }
  try {
    const body = { metadata: { finalizers: null } };
    await client.patch(resource, metadata.name, metadata.namespace, body, { type: 'merge' });
  } catch (error) {
    if (!isNotFound(error)) {
      throw error;
    }
  }
};

/** Deletes an object although nobody takes its finalizers away. */
const removeForSure = async (
  client: KubeClient,
  resource: ResourceRef,
  object: KubeObject,
): Promise<void> => {
  const { name, namespace } = object.metadata;
  await client.delete(resource, name, namespace);
  await stripFinalizers(client, resource, object);
};

/** What the other cluster may still hold of a peering that it wasn't told the end of. */
export interface LeftThere {
  /** Namespaces at the peer that hold pods of this cluster. */
  readonly twins: readonly string[];
  /** Pods of this cluster that ran there. */
  readonly pods: number;
}

const podsOn = async (client: KubeClient, node: string): Promise<readonly KubeObject[]> =>
  (await client.list(POD, { fieldSelector: `spec.nodeName=${node}` })).items;

const nodesOf = async (client: KubeClient, peer: string): Promise<readonly string[]> =>
  (
    await client.list<KubeObject & { readonly spec: { readonly peer: string } }>(fluviaRef('VirtualNode'))
  ).items
    .filter((node) => node.spec.peer === peer)
    .map((node) => node.metadata.name);

/** What this cluster has at the peer by what is known here. */
export const readLeftThere = async (client: KubeClient, peer: string): Promise<LeftThere> => {
  const nodes = await nodesOf(client, peer);
  const pods = await Promise.all(nodes.map((node) => podsOn(client, node)));
  const offloadings = (await client.list(fluviaRef('NamespaceOffloading')))
    .items as unknown as readonly NamespaceOffloading[];
  const twins = offloadings.flatMap((offloading) =>
    (offloading.status?.peers ?? []).flatMap((status) =>
      status.peer === peer && status.twin !== undefined ? [status.twin] : [],
    ),
  );
  return { twins: twins.toSorted(), pods: pods.flat().length };
};

/** What to tell of it. `own` is this cluster's name, as the peer knows it. */
export const leftThereText = (peer: string, own: string, { twins, pods }: LeftThere): string => {
  const held = [
    ...(twins.length === 0 ? [] : [`namespaces ${twins.join(', ')}`]),
    ...(pods === 0 ? [] : [`${pods} pod${pods === 1 ? '' : 's'} of this cluster, perhaps running`]),
    `Peer ${own}`,
  ];
  return `${peer} may not have heard of it. There may be left over there: ${held.join('; ')}. It cleans up by itself when it reaches this cluster again; else run there: fluviactl unpeer ${own}`;
};

/** A pod that may run once only: the controller lets it go, once no copy of it can run at the peer any more. */
const isFenced = ({ metadata }: KubeObject): boolean =>
  metadata.finalizers?.includes(FINALIZERS.floated) === true;

/** What to tell of fenced pods: a person at this command can't know when the peer stopped them. */
export const fencedText = (pods: number): string =>
  `${pods} pod${pods === 1 ? '' : 's'} with onLoss: fence ${pods === 1 ? 'is' : 'are'} held until no copy can run over there any more; the controller lets go within a minute or so (leaseSeconds and stopSeconds of the FloatPolicy). Look: kubectl -n ${SYSTEM_NAMESPACE} get deploy ${NAMES.controller}`;

/** A node that stands for the peer: its pods are deleted, so that their owners make them again; fenced ones in their time. */
const removeNode = async (client: KubeClient, name: string): Promise<number> => {
  const pods = await podsOn(client, name);
  for (const pod of pods) {
    const { namespace, uid } = pod.metadata;
    await client.delete(POD, pod.metadata.name, namespace, {
      gracePeriodSeconds: 0,
      ...(uid === undefined ? {} : { uid }),
    });
  }
  await client.delete(LEASE, name, 'kube-node-lease');
  const node = await client.get(NODE, name);
  if (node !== undefined) {
    await removeForSure(client, NODE, node);
  }
  return pods.filter(isFenced).length;
};

/** What the peer has here as a consumer: its namespaces, its shadows and the account that they are kept by. */
const removeTwins = async (client: KubeClient, clusterID: string): Promise<void> => {
  const twins = await client.list(NAMESPACE, { labelSelector: `${LABELS.origin}=${clusterID}` });
  const shadows = fluviaRef('ShadowPod');
  for (const { metadata } of twins.items) {
    await client.delete(NAMESPACE, metadata.name);
    const { items } = await client.list(shadows, { namespace: metadata.name });
    await Promise.all(items.map((shadow) => removeForSure(client, shadows, shadow)));
  }
  await client.delete(SERVICE_ACCOUNT, clusterID, PEERS_NAMESPACE);
};

/**
 * Removes a peer that is gone for good, where the controller can't end the peering in good order, or not yet: its objects,
 * the nodes that stand for it with the pods bound to them, its twins. Asks nobody but this cluster's API server and waits
 * for no finalizer. Returns how many pods are still held by the fence.
 */
export const forgetPeer = async (client: KubeClient, peer: string): Promise<number> => {
  const resource = fluviaRef('Peer');
  const object = await client.get<Peer & KubeObject>(resource, peer);
  let fenced = 0;
  for (const node of await nodesOf(client, peer)) {
    fenced += await removeNode(client, node);
  }
  for (const kind of ABOUT_A_PEER) {
    const ref = fluviaRef(kind);
    const { items } = await client.list<KubeObject & { readonly spec: { readonly peer?: string } }>(ref);
    for (const item of items.filter(({ spec }) => spec.peer === peer)) {
      await removeForSure(client, ref, item);
    }
  }
  if (object !== undefined) {
    await removeTwins(client, object.spec.clusterID);
    await removeForSure(client, resource, object);
  }
  return fenced;
};
