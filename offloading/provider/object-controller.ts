/** Brings consumers' Services, EndpointSlices, ConfigMaps and Secrets into their twins, as the peering. */
import { ANNOTATIONS, LABELS } from '../../api/labels.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isInvalid } from '../../runtime/kube/errors.ts';
import type { HasMetadata, KubeObject } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { FIELD_MANAGER, REFLECTED, VIEWS_BY_CLUSTER, type ProviderContext } from './context.ts';
import { heldKey, type Excess } from './holdings.ts';
import { createItemSource } from './item-source.ts';
import { isOf, KINDS, splitKey, withHash, type ObjectKey } from './object-key.ts';
import { bytesOf, objectHolding } from './plan-holdings.ts';
import { nameAtHome, nameInTwin } from './name-in-twin.ts';
import { asPeeringCall, isRefusal } from './peering-errors.ts';
import {
  holds,
  planObject,
  type ObjectItem,
  type ReflectedKind,
  type ReflectedManifest,
} from './plan-object.ts';
import { cleanText } from './plan-status.ts';

/** A link that broke so lately counts as up; then endpoints behind it are set not-ready. */
export const LINK_GRACE_MS = 5000;
/** An object in whose way another one stands is tried again this often. */
const CONFLICT_RETRY_MS = 60_000;

/** A little more than the time after a start within which every link counts as up. */
const START_LOOK_MS = 21_000;

const heldKeyOf = (key: ObjectKey, twin: string): string =>
  heldKey(key.kind, twin, nameInTwin(key.kind, key.name));

/** Runs until `signal` aborts. */
export const runObjectController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, consumers, twins, views, namespaces, peers, holdings, refusals } = context;
  /** What refused objects would take: they are looked at again and again. */
  const sizes = new WeakMap<ObjectItem, number>();
  const queue = createWorkQueue({ clock: deps.clock });

  const keysIn = (clusterID: string, kinds: readonly ReflectedKind[]): readonly string[] => {
    const here = kinds.flatMap((kind) =>
      context.reflected[kind]
        .list()
        .filter((object) => isOf(clusterID, object))
        .flatMap((object) => keysOfObject(kind, object)),
    );
    const asked = [...(consumers.get(clusterID)?.objects.entries().keys() ?? [])]
      .filter((id) => kinds.some((kind) => id.startsWith(`${kind}/`)))
      .map((id) => `${clusterID}/${id}`);
    return [...new Set([...here, ...asked])];
  };
  const keysOfObject = (kind: ReflectedKind, object: HasMetadata): readonly string[] => {
    const home = twins.homeOf(object.metadata.namespace ?? '');
    const name = nameAtHome(kind, object);
    return home === undefined || name === undefined
      ? []
      : [`${home.clusterID}/${kind}/${home.namespace}/${name}`];
  };

  const items = createItemSource(context, {
    subscriber: (consumer) => consumer.objects,
    localIds: (clusterID) => keysIn(clusterID, KINDS).map((key) => key.slice(clusterID.length + 1)),
    reads: [namespaces, peers, views, ...KINDS.map((kind) => context.reflected[kind])],
    signal,
  });

  const tell = (twin: string, reason: string, note: string): void => {
    const namespace = namespaces.get(undefined, twin);
    if (namespace !== undefined) {
      deps.events.record(namespace, {
        type: 'Warning',
        reason,
        action: 'Reflect',
        note: cleanText(note, 900) ?? '',
      });
    }
  };

  const remove = async (key: ObjectKey, live: KubeObject): Promise<void> => {
    const { name, namespace, uid } = live.metadata;
    await asPeeringCall(() =>
      context.asPeering(key.clusterID).delete(REFLECTED[key.kind], name, namespace, { uid, signal }),
    );
  };

  const create = async (key: ObjectKey, manifest: ReflectedManifest): Promise<ReconcileResult | void> => {
    try {
      await asPeeringCall(() =>
        context
          .asPeering(key.clusterID)
          .create(REFLECTED[key.kind], manifest, { fieldManager: FIELD_MANAGER, signal }),
      );
      return undefined;
    } catch (error) {
      // If it is there all the same, the informer said so, or will.
      const { name, namespace } = manifest.metadata;
      if (context.reflected[key.kind].get(namespace, name) === undefined)
        holdings.release(heldKeyOf(key, namespace));
      if (isAlreadyExists(error)) return meetExisting(key, manifest);
      if (!isRefusal(error)) throw error;
      tell(manifest.metadata.namespace, 'ReflectionRefused', `${key.kind} ${key.name}: ${error.message}`);
      return { requeueAfterMs: CONFLICT_RETRY_MS };
    }
  };

  /** Ours, when the cache is merely behind; else another's, which is never touched. */
  const meetExisting = async (key: ObjectKey, manifest: ReflectedManifest): Promise<ReconcileResult> => {
    const twin = manifest.metadata.namespace;
    const live = await asPeeringCall(() =>
      context.asPeering(key.clusterID).get(REFLECTED[key.kind], manifest.metadata.name, twin, { signal }),
    );
    if (live === undefined || isOf(key.clusterID, live)) return { requeueAfterMs: 200 };
    tell(
      twin,
      'Conflict',
      `${key.kind} ${key.name} is not reflected: there is another ${manifest.metadata.name}, which must go first`,
    );
    return { requeueAfterMs: CONFLICT_RETRY_MS };
  };

  const update = async (
    key: ObjectKey,
    live: KubeObject,
    manifest: ReflectedManifest,
  ): Promise<ReconcileResult | void> => {
    const { resourceVersion } = live.metadata;
    try {
      await asPeeringCall(() =>
        context
          .asPeering(key.clusterID)
          .update(
            REFLECTED[key.kind],
            { ...manifest, metadata: { ...manifest.metadata, resourceVersion } },
            { fieldManager: FIELD_MANAGER, signal },
          ),
      );
      return undefined;
    } catch (error) {
      const held = heldKeyOf(key, manifest.metadata.namespace);
      holdings.record(key.clusterID, held, objectHolding(bytesOf(live)));
      // What can't be changed (an immutable ConfigMap, a Secret's type, a headless Service) is made anew.
      if (isInvalid(error)) {
        await remove(key, live);
        return { requeueAfterMs: 200 };
      }
      if (!isRefusal(error)) throw error;
      tell(manifest.metadata.namespace, 'ReflectionRefused', `${key.kind} ${key.name}: ${error.message}`);
      return { requeueAfterMs: CONFLICT_RETRY_MS };
    }
  };

  const isAlive = (clusterID: string): boolean => context.isAlive(clusterID, LINK_GRACE_MS);

  /** Of a slice whose item isn't known (yet): endpoints of clusters that are cut off can't be ready. */
  const quiet = async (key: ObjectKey, live: KubeObject): Promise<void> => {
    if (key.kind !== 'EndpointSlice' || isAlive(key.clusterID) || !Array.isArray(live['endpoints'])) return;
    const endpoints: readonly Record<string, unknown>[] = live['endpoints'];
    const silenced = endpoints.map((endpoint) => ({
      ...endpoint,
      conditions: { ready: false, serving: false, terminating: false },
    }));
    if (holds(endpoints, silenced)) return;
    await asPeeringCall(() =>
      context
        .asPeering(key.clusterID)
        .update(
          REFLECTED[key.kind],
          { ...live, endpoints: silenced },
          { fieldManager: FIELD_MANAGER, signal },
        ),
    );
  };

  /** Whether there is room for it. Endpoints that a dead link makes not ready are no doing of the consumer's. */
  const admit = (key: ObjectKey, item: ObjectItem, manifest: ReflectedManifest): Excess | undefined => {
    if (key.kind === 'EndpointSlice' && !isAlive(key.clusterID)) return undefined;
    const bytes = sizes.get(item) ?? bytesOf(manifest);
    sizes.set(item, bytes);
    const held = heldKeyOf(key, manifest.metadata.namespace);
    return holdings.admit(key.clusterID, held, objectHolding(bytes));
  };

  const apply = async (
    key: ObjectKey,
    item: ObjectItem,
    twin: string,
    live: KubeObject | undefined,
  ): Promise<ReconcileResult | void> => {
    const plan = planObject(item, {
      clusterID: key.clusterID,
      ownClusterID: context.clusterID,
      twin,
      viewOf: (clusterID) => views.byIndex(VIEWS_BY_CLUSTER, clusterID)[0]?.spec.theirs,
      isAlive,
    });
    if (!plan.ok) {
      if (plan.reason !== 'LeftAlone') tell(twin, plan.reason, plan.message);
      if (live !== undefined) await remove(key, live);
      return undefined;
    }
    if (plan.dropped.length > 0) {
      const some = plan.dropped.slice(0, 5).join(', ');
      tell(
        twin,
        'Untranslatable',
        `EndpointSlice ${key.name}: left out ${plan.dropped.length} endpoints without a view: ${some}`,
      );
    }
    const manifest = withHash(key.kind, plan.manifest);
    if (live !== undefined && holds(live, manifest)) {
      refusals.clear(key);
      return undefined;
    }
    const excess = admit(key, item, manifest);
    if (excess !== undefined) {
      refusals.set(key, excess.message);
      tell(twin, 'LimitExceeded', `${key.kind} ${key.name}: ${excess.message}`);
      return { requeueAfterMs: excess.retryMs };
    }
    refusals.clear(key);
    if (live === undefined) return create(key, manifest);
    // An object that home made anew under the same name may not be a mere change of the old one.
    const renewed = live.metadata.annotations?.[ANNOTATIONS.originUID] !== item.uid;
    if (renewed && live['immutable'] === true) {
      await remove(key, live);
      return { requeueAfterMs: 200 };
    }
    return update(key, live, manifest);
  };

  const reconcile = async (text: string): Promise<ReconcileResult | void> => {
    const key = splitKey(text);
    if (key === undefined) return undefined;
    const twin = twins.of(key.clusterID, key.homeNamespace);
    // With the twin all that is in it goes.
    if (twin === undefined || twin.metadata.deletionTimestamp !== undefined) {
      refusals.clear(key);
      return undefined;
    }
    const twinName = twin.metadata.name;
    const consumer = consumers.get(key.clusterID);
    const item = consumer?.objects.get(key.id);
    const cached = context.reflected[key.kind].get(twinName, nameInTwin(key.kind, key.name));
    const live = cached !== undefined && isOf(key.clusterID, cached) ? cached : undefined;
    if (item === undefined) {
      refusals.clear(key);
      if (live === undefined) return undefined;
      if (consumer?.objects.isComplete() === true) return remove(key, live);
      return quiet(key, live);
    }
    // The id and what the item says of itself must be one.
    if (item.kind !== key.kind || item.namespace !== key.homeNamespace || item.name !== key.name)
      return undefined;
    return apply(key, item, twinName, live);
  };

  const slicesOf = (clusterID: string): readonly string[] => keysIn(clusterID, ['EndpointSlice']);
  const allSlices = (): readonly string[] => [
    ...new Set([
      ...consumers.list().flatMap(({ clusterID }) => slicesOf(clusterID)),
      ...context.reflected.EndpointSlice.list().flatMap((object) => keysOfObject('EndpointSlice', object)),
    ]),
  ];

  const stopLinks = context.links.onLink((link) => {
    const look = (): void => {
      for (const key of allSlices()) {
        queue.add(key);
        queue.addAfter(key, LINK_GRACE_MS + 100);
      }
    };
    const stop = link.onStateChange(look);
    link.signal.addEventListener('abort', () => (stop(), look()), { once: true });
  });
  signal.addEventListener('abort', stopLinks, { once: true });
  // Links that never come up after a start change no state: look once when that must be concluded.
  const cancel = deps.clock.after(START_LOOK_MS, () => allSlices().forEach((key) => queue.add(key)));
  signal.addEventListener('abort', cancel, { once: true });

  return runController(
    {
      name: 'offloading.object',
      sources: [
        items,
        ...KINDS.map((kind) =>
          watchSource(context.reflected[kind], ({ object }) => keysOfObject(kind, object)),
        ),
        watchSource(views, allSlices),
        watchSource(namespaces, ({ object, type }) => {
          const clusterID = object.metadata.labels?.[LABELS.origin];
          const home = object.metadata.labels?.[LABELS.originNamespace];
          return type !== 'added' || clusterID === undefined
            ? []
            : keysIn(clusterID, KINDS).filter((key) => key.split('/')[2] === home);
        }),
      ],
      reads: [peers, context.policies, context.shadows],
      reconcile,
      workers: 4,
      queue,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
