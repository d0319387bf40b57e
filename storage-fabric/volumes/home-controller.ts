import { TWINS } from '../../api/collections.ts';
import type { Links, PeerLink } from '../../api/link.ts';
import { HOME_PLACE } from '../../api/places.ts';
import { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import {
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  VOLUME_CONDITION,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
import { SELECTED_NODE } from '../../api/unmade-volume.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import { NODE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { FIELD_MANAGER, idOfClaim, idOfVolume, isOurs, type HomeVolumes } from './home-volumes.ts';
import { volumesOf } from './plan-node-change.ts';
import { planSwap } from './plan-swap.ts';
import { createSwapActor, isWrite } from './swap-actor.ts';
import { planAnew, whyNotMade } from './plan-anew.ts';
import { isOffered, placeOfNode, planVolume, type VolumePlan, type VolumeWorld } from './plan-volume.ts';
import { PLACED_ANEW } from './plan-volume-condition.ts';
import { placeOf } from './volume-place.ts';
import type { VolumeUsers } from './volume-users.ts';

/** How soon a label that was just written is looked for in the cache. */
const SOON_MS = 150;
/** How soon something that others have to do is looked for. */
const WAIT_MS = 2000;

export interface HomeControllerOptions {
  readonly deps: ControllerDeps;
  readonly links: Links;
  readonly home: HomeVolumes;
  readonly pods: Informer<Pod>;
  readonly users: VolumeUsers;
}

/**
 * Makes, publishes, labels and deletes home's volumes of class `fluvia`. Keyed by volume ID; stops when `signal` aborts.
 * Caches must have synced.
 */
export const startHomeVolumes = (
  { deps, links, home, pods, users }: HomeControllerOptions,
  signal: AbortSignal,
): void => {
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });
  const actor = createSwapActor(deps, signal);
  /** Volume → since when its place says that it can't make it, monotonic. */
  const failing = new Map<string, { readonly place: string; readonly since: number }>();

  const observe = (id: string, real?: PersistentVolume): VolumeWorld => {
    const all = links.list();
    const told = all.flatMap((link) => {
      const status = link.follow(VOLUME_STATUS).get(id);
      return status === undefined ? [] : [[link.peer, status] as const];
    });
    const claim = home.claimOf(id);
    const { namespace = '' } = claim?.metadata ?? {};
    const open = all.filter((link) => link.follow(TWINS).get(namespace) !== undefined);
    return {
      id,
      claim,
      volume: home.volumeOf(id),
      homeClaim: home.homeClaimOf(id),
      real,
      reclaimPolicy: home.classes.get(undefined, STORAGE_CLASS)?.reclaimPolicy ?? 'Delete',
      nodes: home.nodes.list(),
      peers: new Set([HOME_PLACE, ...home.peers.list().map((peer) => peer.metadata.name)]),
      open: new Set([HOME_PLACE, ...open.map((link) => link.peer)]),
      told: new Map(told),
      heard: new Set(
        all.filter((link) => link.isUp() && link.follow(VOLUME_STATUS).isComplete()).map((link) => link.peer),
      ),
    };
  };

  const setLabel = async (node: string, id: string, value: 'true' | null): Promise<void> => {
    const body = { metadata: { labels: { [volumeNodeLabel(id)]: value } } };
    await client
      .patch(NODE, node, undefined, body, { type: 'merge', fieldManager: FIELD_MANAGER, signal })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  };

  const unselect = async (claim: PersistentVolumeClaim, plan: VolumePlan): Promise<void> => {
    if (plan.unselect === undefined) return;
    const { name, namespace, uid, resourceVersion } = claim.metadata;
    deps.events.record(claim, { type: 'Warning', reason: plan.unselect.reason, note: plan.unselect.message });
    const body = { metadata: { uid, resourceVersion, annotations: { [SELECTED_NODE]: null } } };
    await client.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, body, {
      type: 'merge',
      fieldManager: FIELD_MANAGER,
      signal,
    });
  };

  const say = async (claim: PersistentVolumeClaim, wanted: VolumePlan['condition']): Promise<void> => {
    const old = claim.status?.conditions?.find(({ type }) => type === VOLUME_CONDITION);
    if (wanted === undefined) return;
    if (old?.status === wanted.status && old.reason === wanted.reason && old.message === wanted.message)
      return;
    const { name, namespace, uid } = claim.metadata;
    const now = deps.clock.now().toISOString();
    const lastTransitionTime = old?.status === wanted.status ? (old.lastTransitionTime ?? now) : now;
    const condition = { type: VOLUME_CONDITION, ...wanted, lastTransitionTime };
    await client
      .patch(
        PERSISTENT_VOLUME_CLAIM,
        name,
        namespace,
        { metadata: { uid }, status: { conditions: [condition] } },
        { type: 'strategic', subresource: 'status', fieldManager: FIELD_MANAGER, signal },
      )
      .catch((error: unknown) => {
        if (!isNotFound(error) && !isConflict(error)) throw error;
      });
    if (wanted.reason === 'Pending') return;
    const isFine = wanted.status === 'True' || wanted.reason === 'Moving' || wanted.reason === PLACED_ANEW;
    const type = isFine ? 'Normal' : 'Warning';
    deps.events.record(claim, { type, reason: wanted.reason, note: wanted.message });
  };

  /** What home's own claim is bound to. */
  const realOf = async (id: string): Promise<PersistentVolume | undefined> => {
    const name = home.homeClaimOf(id)?.spec.volumeName ?? '';
    return name === ''
      ? undefined
      : client.get<PersistentVolume>(PERSISTENT_VOLUME, name, undefined, { signal });
  };

  /** For how long the place has been saying that it can't make the volume. */
  const failingMs = (id: string, place: string, isFailing: boolean): number | undefined => {
    const known = failing.get(id);
    if (!isFailing) {
      failing.delete(id);
      return undefined;
    }
    const now = deps.clock.monotonicMs();
    if (known?.place === place) return now - known.since;
    failing.set(id, { place, since: now });
    return 0;
  };

  /** A volume that was never made may be made elsewhere. */
  const placeAnew = async (world: VolumeWorld): Promise<ReconcileResult> => {
    const { id, claim, volume } = world;
    const place = volume === undefined ? undefined : placeOf(volume);
    if (claim === undefined || volume === undefined || place === undefined) {
      failing.delete(id);
      return {};
    }
    const told = world.told.get(place.location);
    const chosen = claim.metadata.annotations?.[SELECTED_NODE];
    const node = world.nodes.find(({ metadata }) => metadata.name === chosen);
    const wanted = node === undefined ? undefined : placeOfNode(node);
    const step = planAnew({
      now: deps.clock.now().getTime(),
      place,
      isMoving: volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] !== undefined,
      told,
      toldThere: place.anew === undefined ? undefined : world.told.get(place.anew),
      failingMs: failingMs(id, place.location, !place.isMade && whyNotMade(told) !== undefined),
      isPlace: world.peers.has(place.location),
      wanted: wanted !== undefined && world.open.has(wanted) ? wanted : undefined,
      users: users.at(claim, place.location).length,
      isOffered: isOffered(id, world.nodes),
    });
    if (step.do === 'nothing') return {};
    if (step.do === 'wait') return { requeueAfterMs: step.afterMs };
    const { name, uid, resourceVersion } = volume.metadata;
    const body = { metadata: { uid, resourceVersion, annotations: step.annotations } };
    const again = { requeueAfterMs: SOON_MS };
    try {
      await client.patch(PERSISTENT_VOLUME, name, undefined, body, {
        type: 'merge',
        fieldManager: FIELD_MANAGER,
        signal,
      });
    } catch (error) {
      if (isConflict(error) || isNotFound(error)) return again;
      throw error;
    }
    deps.log.info('volume not made', { controller: 'storage.volume', volume: id, ...step.annotations });
    return again;
  };

  const publishTo = (link: PeerLink, id: string, { publish, unknown }: VolumePlan): void => {
    const volumes = link.publish(VOLUMES);
    if (unknown !== undefined) {
      if (!volumes.ids().includes(id)) volumes.set(id, unknown);
      return;
    }
    const item = publish.get(link.peer);
    if (item === undefined) volumes.delete(id);
    else volumes.set(id, item);
  };

  const reconcile = async (id: string): Promise<ReconcileResult> => {
    const world = observe(id, await realOf(id));
    const plan = planVolume(world);
    for (const link of links.list()) publishTo(link, id, plan);
    if (plan.keep !== undefined) await actor.act(id, { do: 'keep', real: plan.keep });
    for (const node of plan.unlabel) await setLabel(node, id, null);
    for (const node of plan.label) await setLabel(node, id, 'true');
    if (plan.create !== undefined) {
      await client
        .create(PERSISTENT_VOLUME, plan.create, { fieldManager: FIELD_MANAGER, signal })
        .catch((error: unknown) => {
          if (!isAlreadyExists(error)) throw error;
        });
      deps.log.info('volume placed', { controller: 'storage.volume', volume: id });
    }
    if (plan.markMade && world.volume !== undefined) {
      const { name, uid } = world.volume.metadata;
      const body = { metadata: { uid, annotations: { [STORAGE_ANNOTATIONS.made]: 'true' } } };
      await client.patch(PERSISTENT_VOLUME, name, undefined, body, {
        type: 'merge',
        fieldManager: FIELD_MANAGER,
        signal,
      });
    }
    if (plan.deletePlaceholder && world.volume !== undefined) {
      const { name, uid } = world.volume.metadata;
      await client.delete(PERSISTENT_VOLUME, name, undefined, { uid, signal });
      deps.log.info('volume deleted', { controller: 'storage.volume', volume: id });
    }
    if (world.claim !== undefined) {
      await unselect(world.claim, plan);
      await say(world.claim, plan.condition);
    }
    const step = planSwap(world);
    await actor.act(id, step);
    const isUnderWay = plan.label.length > 0 || plan.keep !== undefined || isWrite(step);
    const anew = isWrite(step) ? {} : await placeAnew(world);
    const swapMs = step.do === 'wait' ? WAIT_MS : isUnderWay ? SOON_MS : Infinity;
    const requeueAfterMs = Math.min(swapMs, anew.requeueAfterMs ?? Infinity);
    return requeueAfterMs === Infinity ? {} : { requeueAfterMs };
  };

  const all = (): readonly string[] => home.ids();

  const publishAll = (link: PeerLink): void => {
    for (const id of all()) publishTo(link, id, planVolume(observe(id)));
    link.publish(VOLUMES).markComplete();
    for (const id of all()) queue.add(id);
  };

  links.onLink((link) => {
    publishAll(link);
    link.follow(VOLUME_STATUS).onChange((id) => {
      for (const one of id === undefined ? all() : [id]) queue.add(one);
    });
    link.onStateChange(() => {
      for (const id of all()) queue.add(id);
    });
    link.follow(TWINS).onChange((namespace) => {
      for (const id of all())
        if (namespace === undefined || home.claimOf(id)?.metadata.namespace === namespace) queue.add(id);
    });
  });

  void runController(
    {
      name: 'storage.volume',
      queue,
      sources: [
        watchSource(home.claims, ({ object }) => {
          const id = isOurs(object) ? idOfClaim(object) : home.idOfHomeClaim(object);
          return id === undefined ? [] : [id];
        }),
        watchSource(home.volumes, ({ object }) => [idOfVolume(object)]),
        // Of a volume that can't be made it counts whether a pod is bound to wait for it.
        watchSource(pods, ({ type, object, old }) =>
          type === 'updated' && old.spec.nodeName === object.spec.nodeName ? [] : users.volumesOf(object),
        ),
        watchSource(home.nodes, (change) => volumesOf(change, all)),
        watchSource(home.peers, ({ type }) => (type === 'updated' ? [] : all())),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
