import { OBJECTS } from '../../api/collections.ts';
import { FINALIZERS, SLICE_SERVICE_LABEL } from '../../api/labels.ts';
import type { Links, PeerLink, Publisher } from '../../api/link.ts';
import type { OfferedAddress } from '../../api/v1alpha1/offer.ts';
import { realOf } from '../../api/views.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import { CONFIG_MAP, SECRET } from '../../runtime/kube/resources.ts';
import type { ConfigMap, Endpoint, Pod, Secret } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { freshGateways, isEnforced } from '../provider/plan-open-address.ts';
import { selectedPeers, type Home } from './home.ts';
import {
  isAnnounced,
  isReflectedService,
  itemID,
  planConfigItem,
  planEndpointOffers,
  planServiceItem,
  planSliceItem,
  type EndpointOrigin,
  type ReflectedItem,
} from './plan-objects.ts';
import { planMissing } from './plan-missing.ts';
import { configReferences, type ConfigReferences } from './translate-pod.ts';

export interface ReflectionOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly clusterID: string;
}

/** What other controllers ask of the reflection. */
export interface Reflection {
  /** Publishes what this pod refers to, unless it is there already; false while the caches are still filling. */
  publishFor(link: PeerLink, pod: Pod): boolean;
  /** What the pod can't start without and the peer will not get from home, one text per object. */
  missingFor(pod: Pod): readonly string[];
  /** Resolves when the caches of these namespaces have filled. */
  whenReady(namespaces: Iterable<string>, signal: AbortSignal): Promise<void>;
  /** Home's addresses that the peer must reach for what is reflected to it; undefined while that isn't known yet. */
  offered(peer: string): readonly OfferedAddress[] | undefined;
  onOffersChange(listener: (peer: string) => void): void;
}

interface Configs {
  readonly configMaps: Informer<ConfigMap>;
  readonly secrets: Informer<Secret>;
}

/** Publishes Services, EndpointSlices, and the ConfigMaps and Secrets that pods at a peer refer to. Keyed by namespace. */
export const startReflection = (options: ReflectionOptions, signal: AbortSignal): Reflection => {
  const { deps, home, links, clusterID } = options;
  const queue = createWorkQueue({ clock: deps.clock });
  const configs = new Map<string, Configs>();
  /** Peer → namespace → ids published. */
  const published = new Map<string, Map<string, Set<string>>>();
  const offers = new Map<string, Map<string, readonly OfferedAddress[]>>();
  /** Namespaces with endpoints that a peer isn't let through to yet. */
  const pending = new Set<string>();
  /** Peers for which every opened namespace has been looked at once. */
  const complete = new Set<string>();
  const listeners = new Set<(peer: string) => void>();

  /** Caches of one namespace; only opened namespaces get any. */
  const configsOf = (namespace: string): Configs => {
    let found = configs.get(namespace);
    if (found === undefined) {
      found = {
        configMaps: deps.informers.for<ConfigMap>(CONFIG_MAP, { namespace }),
        secrets: deps.informers.for<Secret>(SECRET, { namespace }),
      };
      configs.set(namespace, found);
      const isOf = (object: { metadata: { namespace?: string } }) => object.metadata.namespace === namespace;
      found.configMaps.onChange((change) => isOf(change.object) && queue.add(namespace));
      found.secrets.onChange((change) => isOf(change.object) && queue.add(namespace));
    }
    return found;
  };

  /** Whether every gateway lets the peer through to this address of home; while none beats, the last word counts. */
  const isEnforcedFor = (peer: string, address: string): boolean => {
    const allowing = home.offersOf(peer, address);
    const gateways = home.fabricNodes.list();
    const now = deps.clock.now().getTime();
    return isEnforced(allowing, gateways, freshGateways(gateways, now).length > 0 ? now : 0);
  };

  const originOf = (to: string, endpoint: Endpoint, address: string): EndpointOrigin | undefined => {
    const peer = endpoint.nodeName
      ? home.virtualNodes.get(undefined, endpoint.nodeName)?.spec.peer
      : undefined;
    if (peer === undefined) {
      const podCIDRs = home.networkConfigs.list()[0]?.spec.podCIDRs;
      if (!isAnnounced(address, podCIDRs)) return undefined;
      return { clusterID, peer: undefined, address, isOpen: isEnforcedFor(to, address) };
    }
    const view = home.views.get(undefined, peer);
    const real = view && realOf(view.spec.theirs, address);
    return view === undefined || real === undefined
      ? undefined
      : { clusterID: view.spec.clusterID, peer, address: real, isOpen: true };
  };

  const itemsOf = (namespace: string, references: ConfigReferences): ReflectedItem[] => {
    const { configMaps, secrets } = configsOf(namespace);
    const found = [
      ...[...references.configMaps].map((name) => ['ConfigMap', configMaps.get(namespace, name)] as const),
      ...[...references.secrets].map((name) => ['Secret', secrets.get(namespace, name)] as const),
    ];
    return found.flatMap(([kind, object]) => {
      const item = object && planConfigItem(kind, object);
      return item === undefined ? [] : [item];
    });
  };

  const configItems = (peer: string, namespace: string): ReflectedItem[] => {
    const wanted = { configMaps: new Set<string>(), secrets: new Set<string>() };
    for (const pod of home.podsIn(namespace)) {
      if (home.virtualNodeOf(pod)?.spec.peer !== peer) continue;
      const references = configReferences(pod.spec);
      for (const name of references.configMaps) wanted.configMaps.add(name);
      for (const name of references.secrets) wanted.secrets.add(name);
    }
    return itemsOf(namespace, wanted);
  };

  const serviceItems = (peer: string, namespace: string): ReflectedItem[] => {
    const services = home.servicesIn(namespace).filter(isReflectedService);
    const names = new Set(services.map((service) => service.metadata.name));
    const slices = home
      .slicesIn(namespace)
      .filter((slice) => names.has(slice.metadata.labels?.[SLICE_SERVICE_LABEL] ?? ''))
      .flatMap(
        (slice) => planSliceItem(slice, peer, (endpoint, address) => originOf(peer, endpoint, address)) ?? [],
      );
    return [...services.map(planServiceItem), ...slices];
  };

  /** Open to the peer, or closing with pods still there. */
  const isOpenTo = (peer: string, namespace: string): boolean => {
    const offloading = home.offloadingOf(namespace);
    if (offloading?.metadata.finalizers?.includes(FINALIZERS.cleanup) !== true) return false;
    const isSelected =
      offloading.metadata.deletionTimestamp === undefined &&
      selectedPeers(offloading, home.peers.list()).some((p) => p.metadata.name === peer);
    return isSelected || home.podsIn(namespace).some((pod) => home.virtualNodeOf(pod)?.spec.peer === peer);
  };

  const setOffers = (peer: string, namespace: string, addresses: readonly OfferedAddress[]): void => {
    const byNamespace = offers.get(peer) ?? new Map<string, readonly OfferedAddress[]>();
    offers.set(peer, byNamespace);
    if (JSON.stringify(byNamespace.get(namespace) ?? []) === JSON.stringify(addresses)) return;
    if (addresses.length === 0) byNamespace.delete(namespace);
    else byNamespace.set(namespace, addresses);
    for (const listener of listeners) listener(peer);
  };

  /** One object that can't cross must not hold up the others. */
  const send = (publisher: Publisher<ReflectedItem>, item: ReflectedItem, peer: string): void => {
    try {
      publisher.set(itemID(item), item);
    } catch (err) {
      deps.log.error('object not reflected', {
        controller: 'offloading.reflection',
        key: itemID(item),
        peer,
        err,
      });
    }
  };

  const idsOf = (peer: string, namespace: string): Set<string> => {
    const mine = published.get(peer) ?? new Map<string, Set<string>>();
    published.set(peer, mine);
    const ids = mine.get(namespace) ?? new Set<string>();
    mine.set(namespace, ids);
    return ids;
  };

  /** Publishes what the namespace has for the peer now; false while its caches are still filling. */
  const publish = (link: PeerLink, namespace: string): boolean => {
    const { peer } = link;
    const isOpen = isOpenTo(peer, namespace);
    let items: ReflectedItem[] = [];
    if (isOpen) {
      const caches = configsOf(namespace);
      if (!caches.configMaps.hasSynced() || !caches.secrets.hasSynced()) return false;
      items = [...configItems(peer, namespace), ...serviceItems(peer, namespace)];
    }
    const publisher = link.publish(OBJECTS);
    const before = idsOf(peer, namespace);
    const ids = new Set(items.map(itemID));
    for (const item of items) send(publisher, item, peer);
    for (const id of before) if (!ids.has(id)) publisher.delete(id);
    if (ids.size === 0) published.get(peer)?.delete(namespace);
    else published.get(peer)?.set(namespace, ids);
    setOffers(peer, namespace, planEndpointOffers(items, clusterID));
    const isPending = items.some(
      (item) =>
        item.kind === 'EndpointSlice' &&
        item.endpoints.some((e) => e.clusterID === clusterID && !isEnforcedFor(peer, e.address)),
    );
    if (isPending) pending.add(namespace);
    return true;
  };

  const publishFor = (link: PeerLink, pod: Pod): boolean => {
    const namespace = pod.metadata.namespace ?? '';
    const caches = configsOf(namespace);
    if (!caches.configMaps.hasSynced() || !caches.secrets.hasSynced()) return false;
    const mine = idsOf(link.peer, namespace);
    for (const item of itemsOf(namespace, configReferences(pod.spec))) {
      if (mine.has(itemID(item))) continue;
      send(link.publish(OBJECTS), item, link.peer);
      mine.add(itemID(item));
    }
    return true;
  };

  const missingFor: Reflection['missingFor'] = (pod) => {
    const namespace = pod.metadata.namespace ?? '';
    const caches = configsOf(namespace);
    if (!caches.configMaps.hasSynced() || !caches.secrets.hasSynced()) return [];
    return planMissing(pod.spec, (kind, name) => {
      const object = (kind === 'ConfigMap' ? caches.configMaps : caches.secrets).get(namespace, name);
      if (object === undefined) return 'missing';
      return planConfigItem(kind, object) === undefined ? 'kept' : 'there';
    });
  };

  const openNamespaces = (): string[] => home.offloadings.list().map((o) => o.metadata.namespace ?? '');

  const whenReady: Reflection['whenReady'] = async (namespaces, until) => {
    for (const namespace of namespaces) {
      const { configMaps, secrets } = configsOf(namespace);
      await Promise.all([configMaps.whenSynced(until), secrets.whenSynced(until)]);
    }
  };

  const reconcile = async (namespace: string): Promise<ReconcileResult> => {
    pending.delete(namespace);
    const results = links.list().map((link) => publish(link, namespace));
    return results.includes(false) ? { requeueAfterMs: 200 } : {};
  };

  links.onLink((link) => {
    published.delete(link.peer);
    link.signal.addEventListener('abort', () => {
      published.delete(link.peer);
      offers.delete(link.peer);
      complete.delete(link.peer);
      for (const listener of listeners) listener(link.peer);
    });
    const namespaces = openNamespaces();
    whenReady(namespaces, AbortSignal.any([signal, link.signal]))
      .then(() => {
        for (const namespace of openNamespaces()) publish(link, namespace);
        link.publish(OBJECTS).markComplete();
        complete.add(link.peer);
        for (const listener of listeners) listener(link.peer);
      })
      .catch((err: unknown) => {
        if (!signal.aborted && !link.signal.aborted)
          deps.log.error('objects not published', { peer: link.peer, err });
      });
  });

  const namespaceOf = ({ object }: { object: { metadata: { namespace?: string } } }): string[] => {
    const namespace = object.metadata.namespace ?? '';
    return home.offloadingOf(namespace) === undefined && !isPublished(namespace) ? [] : [namespace];
  };
  const isPublished = (namespace: string): boolean =>
    [...published.values()].some((mine) => mine.has(namespace));

  void runController(
    {
      name: 'offloading.reflection',
      queue,
      sources: [
        watchSource(home.offloadings, ({ object }) => [object.metadata.namespace ?? '']),
        watchSource(home.services, namespaceOf),
        watchSource(home.slices, namespaceOf),
        watchSource(home.pods, (change) =>
          home.virtualNodeOf(change.object) === undefined ? [] : namespaceOf(change),
        ),
        watchSource(home.peers, openNamespaces),
        watchSource(home.views, openNamespaces),
        watchSource(home.networkConfigs, openNamespaces),
        // Agents beat every few seconds: only what waits for them looks again.
        watchSource(home.fabricNodes, () => pending),
        watchSource(home.offers, () => pending),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );

  return {
    publishFor,
    missingFor,
    whenReady,
    offered: (peer) => (complete.has(peer) ? [...(offers.get(peer)?.values() ?? [])].flat() : undefined),
    onOffersChange: (listener) => void listeners.add(listener),
  };
};
