import { FINALIZERS } from '../../api/labels.ts';
import { setCondition } from '../../api/conditions.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { upsertStatus } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isConflict } from '../../runtime/kube/errors.ts';
import { addFinalizer, hasFinalizer, isDeleting, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { LEASE, NODE, POD } from '../../runtime/kube/resources.ts';
import type { Node } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { FIELD_MANAGER, isVirtual, VIRTUAL_NODE, type Home } from '../consumer/home.ts';
import type { LinkHealth } from '../consumer/link-health.ts';
import type { KubeletServers } from './kubelet-servers.ts';
import { NODE_LEASE_NAMESPACE } from './leases.ts';
import { freePort, isStatusStale, planNodeSpec, planNodeStatus, type NodeWorld } from './plan-node.ts';

export interface NodeControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly health: LinkHealth;
  readonly servers: KubeletServers;
}

const RESYNC_MS = 120_000;

/** Keeps the Node of each VirtualNode: metadata, capacity, conditions, and where its kubelet API is. */
export const startNodes = (options: NodeControllerOptions, signal: AbortSignal): void => {
  const { deps, home, health, servers } = options;
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });

  const portOf = (vn: VirtualNode): number =>
    vn.status?.port ??
    freePort([...home.virtualNodes.list().map((other) => other.status?.port), ...servers.ports()]);

  const setReady = async (vn: VirtualNode, port: number, ready: boolean, reason: string, message: string) => {
    const conditions = setCondition(
      vn.status?.conditions,
      {
        type: 'Ready',
        status: ready ? 'True' : 'False',
        reason,
        message,
        observedGeneration: vn.metadata.generation ?? 0,
      },
      deps.clock.now().toISOString(),
    );
    await upsertStatus(
      client,
      VIRTUAL_NODE,
      vn,
      { port, conditions },
      { fieldManager: FIELD_MANAGER, signal },
    );
  };

  const create = async (world: NodeWorld): Promise<Node | undefined> => {
    const desired = planNodeSpec(world);
    const manifest = {
      metadata: { name: world.virtualNode.metadata.name, labels: desired.labels },
      spec: { providerID: desired.providerID, taints: [desired.taint], unschedulable: desired.unschedulable },
    };
    try {
      return (await client.create(NODE, manifest, { signal })) as unknown as Node;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return client.get<Node>(NODE, manifest.metadata.name, undefined, { signal });
    }
  };

  const keepSpec = async (node: Node, world: NodeWorld): Promise<void> => {
    const desired = planNodeSpec(world);
    const hasTaint = node.spec.taints?.some(
      (t) => t.key === desired.taint.key && t.effect === desired.taint.effect,
    );
    const labels = Object.fromEntries(
      Object.entries(desired.labels).filter(([key, value]) => node.metadata.labels?.[key] !== value),
    );
    const spec = {
      ...(hasTaint === true ? {} : { taints: [...(node.spec.taints ?? []), desired.taint] }),
      ...((node.spec.unschedulable ?? false) === desired.unschedulable
        ? {}
        : { unschedulable: desired.unschedulable ? true : null }),
    };
    if (Object.keys(labels).length === 0 && Object.keys(spec).length === 0) return;
    const { resourceVersion } = node.metadata;
    const body = { metadata: { resourceVersion, labels }, spec };
    await client.patch(NODE, node.metadata.name, undefined, body, { type: 'merge', signal });
  };

  const keepStatus = async (node: Node, world: NodeWorld): Promise<void> => {
    const desired = planNodeStatus(world);
    if (!isStatusStale(node, desired, deps.clock.now().getTime())) return;
    const gone = Object.keys(node.status?.capacity ?? {}).filter((name) => !(name in desired.capacity));
    const removed = Object.fromEntries(gone.map((name) => [name, null]));
    const status = {
      ...desired,
      capacity: { ...desired.capacity, ...removed },
      allocatable: { ...desired.allocatable, ...removed },
    };
    await client.patch(
      NODE,
      node.metadata.name,
      undefined,
      { status },
      {
        type: 'strategic',
        subresource: 'status',
        signal,
      },
    );
  };

  /** Empties the node, then lets it go. Pods leave with their peer's word, or at once when the peer is gone for good. */
  const drain = async (vn: VirtualNode): Promise<ReconcileResult> => {
    const { name } = vn.metadata;
    const node = home.nodes.get(undefined, name);
    if (node !== undefined && isVirtual(node)) {
      if (node.spec.unschedulable !== true) {
        await client.patch(
          NODE,
          name,
          undefined,
          { spec: { unschedulable: true } },
          { type: 'merge', signal },
        );
      }
      const pods = home.podsOn(name);
      for (const pod of pods.filter((p) => !isDeleting(p))) {
        const { uid, namespace } = pod.metadata;
        await client.delete(POD, pod.metadata.name, namespace, { uid, signal }).catch((error: unknown) => {
          if (!isConflict(error)) throw error;
        });
      }
      if (pods.length > 0) return { requeueAfterMs: 5000 };
      await client.delete(NODE, name, undefined, { uid: node.metadata.uid, signal });
    }
    servers.close(name);
    await client.delete(LEASE, name, NODE_LEASE_NAMESPACE, { signal });
    if (hasFinalizer(vn, FINALIZERS.cleanup)) {
      await removeFinalizer(client, VIRTUAL_NODE, vn, FINALIZERS.cleanup, { signal });
    }
    return {};
  };

  const reconcile = async (name: string): Promise<ReconcileResult> => {
    const vn = home.virtualNodes.get(undefined, name);
    const existing = home.nodes.get(undefined, name);
    if (vn === undefined) {
      servers.close(name);
      // Its VirtualNode was removed by force: nobody else would ever clean the Node.
      if (existing !== undefined && isVirtual(existing)) {
        await client.delete(NODE, name, undefined, { uid: existing.metadata.uid, signal });
      }
      return {};
    }
    if (isDeleting(vn)) return drain(vn);
    const peer = home.peers.get(undefined, vn.spec.peer);
    if (peer === undefined) return {};
    if (!hasFinalizer(vn, FINALIZERS.cleanup)) {
      await addFinalizer(client, VIRTUAL_NODE, vn, FINALIZERS.cleanup, { signal });
      return {};
    }
    const port = portOf(vn);
    if (existing !== undefined && !isVirtual(existing)) {
      await setReady(vn, port, false, 'NameTaken', `there is a real node named ${name}: rename the claim`);
      return {};
    }
    await servers.listen(name, port);
    const base: Omit<NodeWorld, 'existing'> = {
      virtualNode: vn,
      claim: home.claims.get(undefined, vn.spec.claim),
      peer,
      link: health.state(vn.spec.peer),
      podIP: deps.podIP,
      port,
      now: deps.clock.now().toISOString(),
    };
    const node = existing ?? (await create({ ...base, existing: undefined }));
    if (node === undefined || !isVirtual(node)) return { requeueAfterMs: 1000 };
    const world = { ...base, existing: node };
    await keepSpec(node, world);
    await keepStatus(node, world);
    const ready = planNodeStatus(world).conditions.find((c) => c.type === 'Ready');
    await setReady(vn, port, ready?.status === 'True', ready?.reason ?? '', ready?.message ?? '');
    return { requeueAfterMs: RESYNC_MS };
  };

  const enqueuePeer = (peer: string): void => {
    for (const vn of home.virtualNodes.list()) {
      if (vn.spec.peer === peer) queue.add(vn.metadata.name);
    }
  };
  health.onChange(enqueuePeer);
  const nodesOfPeer = (peer: string): string[] =>
    home.virtualNodes
      .list()
      .filter((vn) => vn.spec.peer === peer)
      .map((vn) => vn.metadata.name);

  void runController(
    {
      name: 'offloading.node',
      queue,
      // One at a time, so that no two virtual nodes choose the same port.
      workers: 1,
      sources: [
        watchSource(home.virtualNodes),
        watchSource(home.nodes, ({ object }) => (isVirtual(object) ? [object.metadata.name] : [])),
        watchSource(home.claims, ({ object }) => nodesOfPeer(object.spec.peer)),
        watchSource(home.peers, ({ object }) => nodesOfPeer(object.metadata.name)),
        watchSource(home.pods, ({ type, object }) => {
          const node = type === 'deleted' ? home.virtualNodeOf(object) : undefined;
          return node !== undefined && isDeleting(node) ? [node.metadata.name] : [];
        }),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
