import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { FINALIZERS, LABELS, NAMES, OWN_NAMESPACES, SYSTEM_NAMESPACE } from '../api/labels.ts';
import { FLUVIA_RESOURCES, fluviaRef } from '../deploy/manifests/refs.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { isNotFound } from '../runtime/kube/errors.ts';
import * as resources from '../runtime/kube/resources.ts';
import type { ResourceRef } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { Remains } from './plan-uninstall.ts';
import { waitUntil } from './wait.ts';

/** The steps of uninstalling; each may be run again after a break at any point. */

const OURS = 'app.kubernetes.io/name=fluvia';

/** How long agents get to tear down their nodes. */
export const TEARDOWN_MS = 60_000;

/** Objects of a kind that may not be served (any more). */
const listIfServed = async (
  client: KubeClient,
  resource: ResourceRef,
  labelSelector?: string,
): Promise<readonly KubeObject[]> => {
  try {
    return (await client.list(resource, labelSelector === undefined ? {} : { labelSelector })).items;
  } catch (error) {
    if (isNotFound(error)) {
      return [];
    }
    throw error;
  }
};

const namesOf = (objects: readonly KubeObject[]): string[] =>
  objects.map((object) => object.metadata.name).sort();

/** What still stands on the fabric of this cluster. */
export const findRemains = async (client: KubeClient): Promise<Remains> => {
  const [peers, offloadings, labelled, twins] = await Promise.all([
    listIfServed(client, fluviaRef('Peer')),
    listIfServed(client, fluviaRef('NamespaceOffloading')),
    listIfServed(client, resources.NAMESPACE, `${LABELS.offload}=true`),
    listIfServed(client, resources.NAMESPACE, LABELS.origin),
  ]);
  const open = new Set([...offloadings.map((o) => o.metadata.namespace ?? ''), ...namesOf(labelled)]);
  return {
    peers: namesOf(peers),
    openNamespaces: [...open].sort(),
    twins: namesOf(twins.filter((twin) => twin.metadata.deletionTimestamp === undefined)),
  };
};

/** Twins that are going away: what is in them may need the controller for that. */
export const awaitTwins = (client: KubeClient, signal: AbortSignal): Promise<void> =>
  untilGone(
    () => listIfServed(client, resources.NAMESPACE, LABELS.origin),
    'twins of former peers',
    TEARDOWN_MS,
    signal,
  );

/** Whether anything of Fluvia is in the cluster. */
export const isAnythingLeft = async (client: KubeClient): Promise<boolean> => {
  const crds = await client.list(resources.CRD, { labelSelector: OURS });
  const roles = await client.list(resources.CLUSTER_ROLE, { labelSelector: OURS });
  const namespace = await client.get(resources.NAMESPACE, SYSTEM_NAMESPACE);
  return crds.items.length > 0 || roles.items.length > 0 || namespace !== undefined;
};

const deleteAll = async (
  client: KubeClient,
  resource: ResourceRef,
  objects: readonly KubeObject[],
): Promise<void> => {
  await Promise.all(
    objects.map(({ metadata }) =>
      client.delete(resource, metadata.name, metadata.namespace, { propagationPolicy: 'Background' }),
    ),
  );
};

const untilGone = (
  list: () => Promise<readonly KubeObject[]>,
  what: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> =>
  waitUntil(
    async () => {
      const left = await list();
      return left.length === 0
        ? { done: undefined }
        : { waitingFor: `${namesOf(left).slice(0, 4).join(', ')} still there` };
    },
    { what, timeoutMs, signal, hint: 'run the command again; it goes on from here' },
  );

/** Admission first, so that no pod ever waits for a webhook that is going away. */
export const removeWebhooks = async (client: KubeClient): Promise<void> => {
  const resource = resources.MUTATING_WEBHOOK_CONFIGURATION;
  await deleteAll(client, resource, await listIfServed(client, resource, OURS));
};

const podsOf = (client: KubeClient, component: string): Promise<readonly KubeObject[]> =>
  client
    .list(resources.POD, {
      namespace: SYSTEM_NAMESPACE,
      labelSelector: `${OURS},app.kubernetes.io/component=${component}`,
    })
    .then(({ items }) => items);

/** Deletes a workload of ours, and waits for the last of its pods. */
const removeWorkload = async (
  client: KubeClient,
  resource: ResourceRef,
  name: string,
  component: string,
  signal: AbortSignal,
): Promise<void> => {
  await client.delete(resource, name, SYSTEM_NAMESPACE, { propagationPolicy: 'Background' });
  await untilGone(() => podsOf(client, component), `pods of ${name}`, 60_000, signal);
};

/** The controllers, so that nobody makes anew what is being removed. */
export const removeControllers = (client: KubeClient, signal: AbortSignal): Promise<void> =>
  removeWorkload(client, resources.DEPLOYMENT, NAMES.controller, 'controller', signal);

const stripFinalizers = async (
  client: KubeClient,
  resource: ResourceRef,
  object: KubeObject,
): Promise<void> => {
  const { name, namespace, finalizers } = object.metadata;
  if ((finalizers ?? []).length === 0) {
    return;
  }
  try {
    await client.patch(resource, name, namespace, { metadata: { finalizers: null } }, { type: 'merge' });
  } catch (error) {
    if (!isNotFound(error)) {
      throw error;
    }
  }
};

/**
 * Asks the agents to tear down their nodes, and waits for their word: an agent takes the finalizer off its FabricNode
 * and Gateway once nothing of Fluvia is left on its node.
 * @returns the nodes whose agents said nothing in time.
 */
export const tearDownNodes = async (
  client: KubeClient,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<readonly string[]> => {
  const kinds = [fluviaRef('FabricNode'), fluviaRef('Gateway')] as const;
  const listAll = async (): Promise<readonly (readonly [ResourceRef, KubeObject])[]> => {
    const lists = await Promise.all(kinds.map((kind) => listIfServed(client, kind)));
    return kinds.flatMap((kind, i) => (lists[i] ?? []).map((object) => [kind, object] as const));
  };
  const config = fluviaRef('NetworkConfig');
  await deleteAll(client, config, await listIfServed(client, config));
  for (const [kind, object] of await listAll()) {
    await deleteAll(client, kind, [object]);
  }
  const silent = async (): Promise<readonly string[]> => [
    ...new Set((await listAll()).map(([, object]) => object.metadata.name)),
  ];
  try {
    await waitUntil(
      async () => {
        const left = await silent();
        return left.length === 0 ? { done: undefined } : { waitingFor: `agents of ${left.join(', ')}` };
      },
      { what: 'tear-down', timeoutMs: TEARDOWN_MS, signal, note, hint: '' },
    );
    return [];
  } catch (error) {
    signal.throwIfAborted();
    const left = await silent();
    if (left.length === 0) {
      return [];
    }
    if (!(error instanceof FluviaError && error.code === ERROR_CODES.TIMEOUT)) {
      throw error;
    }
    return left.toSorted();
  }
};

/** The agents, once their nodes are torn down. */
export const removeAgents = (client: KubeClient, signal: AbortSignal): Promise<void> =>
  removeWorkload(client, resources.DAEMON_SET, NAMES.agent, 'agent', signal);

/**
 * The store's front and its S3 server, where they are. Not left to the end of their namespace: its controller looks again only
 * after the time that pods may take to end, not when they have ended.
 */
export const removeStore = async (client: KubeClient, signal: AbortSignal): Promise<void> => {
  await Promise.all([
    removeWorkload(client, resources.DEPLOYMENT, NAMES.store, 'store', signal),
    removeWorkload(client, resources.DEPLOYMENT, NAMES.objectStore, 'object-store', signal),
  ]);
};

/** Traces on objects that are not ours: virtual nodes, the mirrored strategy of namespaces, finalizers of pods. */
export const sweepForeignObjects = async (client: KubeClient): Promise<void> => {
  const nodes = await client.list(resources.NODE, {
    labelSelector: `${LABELS.virtualNode}=true`,
  });
  for (const node of nodes.items) {
    await client.delete(resources.LEASE, node.metadata.name, 'kube-node-lease');
    await client.delete(resources.NODE, node.metadata.name);
    await stripFinalizers(client, resources.NODE, node);
  }
  const mirrored = await client.list(resources.NAMESPACE, { labelSelector: LABELS.strategy });
  for (const { metadata } of mirrored.items) {
    const body = { metadata: { labels: { [LABELS.strategy]: null } } };
    await client.patch(resources.NAMESPACE, metadata.name, undefined, body, { type: 'merge' });
  }
  const pods = await client.list(resources.POD);
  for (const pod of pods.items.filter((p) => p.metadata.finalizers?.includes(FINALIZERS.floated) === true)) {
    const finalizers = pod.metadata.finalizers?.filter((name) => name !== FINALIZERS.floated) ?? [];
    const { name, namespace, resourceVersion } = pod.metadata;
    await client.patch(
      resources.POD,
      name,
      namespace,
      { metadata: { finalizers, resourceVersion } },
      { type: 'merge' },
    );
  }
};

/** Every object of every kind of ours, then the kinds. Nobody is left to act on a finalizer. */
export const removeKinds = async (client: KubeClient, signal: AbortSignal): Promise<void> => {
  for (const resource of FLUVIA_RESOURCES) {
    const objects = await listIfServed(client, resource);
    await deleteAll(client, resource, objects);
    await Promise.all(objects.map((object) => stripFinalizers(client, resource, object)));
  }
  const list = (): Promise<readonly KubeObject[]> => listIfServed(client, resources.CRD, OURS);
  await deleteAll(client, resources.CRD, await list());
  await untilGone(list, 'CRDs', 60_000, signal);
};

/** Policies, rights, services, namespaces. */
export const removeRest = async (client: KubeClient, signal: AbortSignal): Promise<void> => {
  for (const resource of [
    resources.MUTATING_ADMISSION_POLICY_BINDING,
    resources.MUTATING_ADMISSION_POLICY,
    resources.VALIDATING_ADMISSION_POLICY_BINDING,
    resources.VALIDATING_ADMISSION_POLICY,
    resources.CLUSTER_ROLE_BINDING,
    resources.STORAGE_CLASS,
    resources.CLUSTER_ROLE,
    resources.ROLE_BINDING,
    resources.ROLE,
  ]) {
    await deleteAll(client, resource, await listIfServed(client, resource, OURS));
  }
  for (const namespace of OWN_NAMESPACES) {
    await client.delete(resources.NAMESPACE, namespace);
  }
  const left = async (): Promise<readonly KubeObject[]> => {
    const found = await Promise.all(OWN_NAMESPACES.map((name) => client.get(resources.NAMESPACE, name)));
    return found.filter((namespace) => namespace !== undefined);
  };
  await untilGone(left, 'namespaces', 120_000, signal);
};
