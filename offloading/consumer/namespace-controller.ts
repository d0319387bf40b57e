import { NAMESPACES, TWINS } from '../../api/collections.ts';
import { ANNOTATIONS, FINALIZERS, LABELS, NAMES } from '../../api/labels.ts';
import type { Links, PeerLink } from '../../api/link.ts';
import { STORAGE_CLASS } from '../../api/storage-names.ts';
import { volumePlacesOf } from '../../api/volume-places.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { upsertStatus } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isConflict, isForbidden } from '../../runtime/kube/errors.ts';
import { addFinalizer, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { NAMESPACE, POD } from '../../runtime/kube/resources.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import type { WebhookHealth } from '../webhook/ca-bundle-controller.ts';
import { FIELD_MANAGER, NAMESPACE_OFFLOADING, selectedPeers, type Home } from './home.ts';
import type { LinkHealth } from './link-health.ts';
import {
  planNamespace,
  type FloatedPod,
  type NamespacePlan,
  type NamespaceWorld,
  type RemoteVolume,
} from './plan-namespace.ts';

const LOOK_AGAIN_MS = 5000;

/** What {@link startNamespaces} needs besides the usual. */
export interface NamespaceControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly health: LinkHealth;
  readonly webhook: WebhookHealth;
}

/** Opens and closes namespaces: the NamespaceOffloading of a label, the strategy label, NAMESPACES, the status. */
export const startNamespaces = (options: NamespaceControllerOptions, signal: AbortSignal): void => {
  const { deps, home, links, webhook } = options;
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });

  const floatedIn = (namespace: string): readonly FloatedPod[] =>
    home.podsIn(namespace).flatMap((pod) => {
      const node = home.virtualNodeOf(pod);
      const { name, uid = '', deletionTimestamp } = pod.metadata;
      return node === undefined
        ? []
        : [{ name, uid, peer: node.spec.peer, isDeleting: deletionTimestamp !== undefined }];
    });

  /** Whether anything can be kept at a peer: not at one that is no peer, or is being given up. */
  const isPeer = (name: string): boolean => {
    const peer = home.peers.get(undefined, name);
    return peer !== undefined && peer.metadata.deletionTimestamp === undefined;
  };
  const volumesOf = (namespace: string, selected: readonly Peer[]): readonly RemoteVolume[] =>
    home.volumeClaimsIn(namespace).flatMap(({ metadata, spec }) => {
      const { storageClassName, volumeName = '' } = spec;
      if (storageClassName !== STORAGE_CLASS || volumeName === '') return [];
      const volume = home.volumes.get(undefined, volumeName);
      const { location, target, tails } = volumePlacesOf(volume?.metadata.annotations);
      // one that is being made anew after a move may be at any of them
      const places =
        volume === undefined
          ? selected.map((peer) => peer.metadata.name)
          : [...new Set([location ?? '', target ?? ''])];
      const claim = metadata.name;
      return [
        ...places.filter(isPeer).map((peer): RemoteVolume => ({ claim, peer })),
        ...tails.filter(isPeer).map((peer): RemoteVolume => ({ claim, peer, tailOf: volumeName })),
      ];
    });

  const observe = (name: string): NamespaceWorld => {
    const offloading = home.offloadingOf(name);
    const selected = offloading === undefined ? [] : selectedPeers(offloading, home.peers.list());
    return {
      namespace: home.namespaces.get(undefined, name),
      offloading,
      selected: selected.map((peer) => {
        const link = links.get(peer.metadata.name);
        return {
          name: peer.metadata.name,
          clusterID: peer.spec.clusterID,
          twin: link?.follow(TWINS).get(name),
          isLinkUp: link?.isUp() ?? false,
        };
      }),
      floated: floatedIn(name),
      volumes: volumesOf(name, selected),
      webhookProblem: webhook.problem(),
      now: deps.clock.now().toISOString(),
    };
  };

  const publish = (link: PeerLink, name: string, plan: NamespacePlan): void => {
    const item = plan.publish.get(link.peer);
    const publisher = link.publish(NAMESPACES);
    if (item === undefined) publisher.delete(name);
    else publisher.set(name, item);
  };

  const makeOrDelete = async (name: string, plan: NamespacePlan, world: NamespaceWorld): Promise<void> => {
    if (plan.offloading === 'create') {
      const metadata = {
        name: NAMES.namespaceOffloading,
        namespace: name,
        annotations: { [ANNOTATIONS.madeByLabel]: 'true' },
        finalizers: [FINALIZERS.cleanup],
      };
      await client
        .create(NAMESPACE_OFFLOADING, { metadata, spec: {} }, { signal })
        .catch((error: unknown) => {
          if (!isAlreadyExists(error) && !isForbidden(error)) throw error;
        });
    }
    if (plan.offloading === 'delete') {
      const uid = world.offloading?.metadata.uid;
      await client.delete(NAMESPACE_OFFLOADING, NAMES.namespaceOffloading, name, { uid, signal });
    }
  };

  const evict = async (name: string, plan: NamespacePlan): Promise<void> => {
    for (const pod of plan.evict) {
      deps.events.record(
        { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod.name, namespace: name, uid: pod.uid } },
        { type: 'Normal', reason: 'FloatEnded', note: `the namespace is no longer open to peer ${pod.peer}` },
      );
      await client.delete(POD, pod.name, name, { uid: pod.uid, signal }).catch((error: unknown) => {
        if (!isConflict(error)) throw error;
      });
    }
  };

  const reconcile = async (name: string): Promise<ReconcileResult> => {
    const world = observe(name);
    const plan = planNamespace(world);
    await makeOrDelete(name, plan, world);
    const { offloading } = world;
    if (plan.addFinalizer && offloading !== undefined) {
      await addFinalizer(client, NAMESPACE_OFFLOADING, offloading, FINALIZERS.cleanup, { signal });
    }
    if (plan.strategyLabel !== undefined) {
      const body = { metadata: { labels: { [LABELS.strategy]: plan.strategyLabel } } };
      await client.patch(NAMESPACE, name, undefined, body, {
        type: 'merge',
        signal,
        fieldManager: FIELD_MANAGER,
      });
    }
    await evict(name, plan);
    for (const link of links.list()) publish(link, name, plan);
    if (offloading !== undefined && !plan.removeFinalizer && plan.status !== undefined) {
      await upsertStatus(client, NAMESPACE_OFFLOADING, offloading, plan.status, {
        fieldManager: FIELD_MANAGER,
        signal,
      });
    }
    if (plan.removeFinalizer && offloading !== undefined) {
      await removeFinalizer(client, NAMESPACE_OFFLOADING, offloading, FINALIZERS.cleanup, { signal });
    }
    // a claim's end is seen by its volume, which may be told first
    return world.volumes.length > 0 ? { requeueAfterMs: LOOK_AGAIN_MS } : {};
  };

  const enqueueOpened = (): void => {
    for (const offloading of home.offloadings.list()) queue.add(offloading.metadata.namespace ?? '');
  };

  // A link's first picture is complete at once: everything is computed from caches that have synced.
  links.onLink((link) => {
    for (const offloading of home.offloadings.list()) {
      const name = offloading.metadata.namespace ?? '';
      publish(link, name, planNamespace(observe(name)));
    }
    link.publish(NAMESPACES).markComplete();
    link.follow(TWINS).onChange((id) => (id === undefined ? enqueueOpened() : queue.add(id)));
    enqueueOpened();
  });
  options.health.onChange(enqueueOpened);
  webhook.onChange(enqueueOpened);

  void runController(
    {
      name: 'offloading.namespace',
      queue,
      sources: [
        watchSource(home.namespaces),
        watchSource(home.offloadings, ({ object }) => [object.metadata.namespace ?? '']),
        watchSource(home.peers, () => home.offloadings.list().map((o) => o.metadata.namespace ?? '')),
        watchSource(home.volumes, ({ object }) => [object.spec.claimRef?.namespace ?? '']),
        watchSource(home.pods, ({ object }) =>
          home.virtualNodeOf(object) === undefined ? [] : [object.metadata.namespace ?? ''],
        ),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
