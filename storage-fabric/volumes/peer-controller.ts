import { LABELS } from '../../api/labels.ts';
import { STORAGE_ANNOTATIONS, STORAGE_LABELS, placeholderName } from '../../api/storage-names.ts';
import type { Links, PeerLink } from '../../api/link.ts';
import { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isForbidden, isInvalid } from '../../runtime/kube/errors.ts';
import {
  EVENT,
  PERSISTENT_VOLUME,
  PERSISTENT_VOLUME_CLAIM,
  STORAGE_CLASS,
} from '../../runtime/kube/resources.ts';
import {
  isDefaultClass,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type StorageClass,
} from '../../runtime/kube/storage-types.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import type { ProviderSide } from '../provider-side.ts';
import { FIELD_MANAGER } from './home-volumes.ts';
import { whyKept } from './plan-own-claim.ts';
import { isRealOf } from './plan-source.ts';
import { planPeerVolume, type PeerVolumeWorld } from './plan-peer-volume.ts';

const BY_ID = 'storage/volume';
/** A claim that is Pending for so long is asked about. */
const WARNING_MS = 5000;

interface KubeEvent extends KubeObject {
  readonly reason?: string;
  readonly note?: string;
  readonly eventTime?: string | null;
  readonly deprecatedLastTimestamp?: string | null;
  readonly series?: { readonly lastObservedTime?: string } | null;
}

/** When an event was seen last, milliseconds since 1970. */
const seenAt = ({ series, eventTime, deprecatedLastTimestamp, metadata }: KubeEvent): number =>
  Date.parse(
    series?.lastObservedTime ?? eventTime ?? deprecatedLastTimestamp ?? metadata.creationTimestamp ?? '',
  );

const keyOfClaim = (claim: PersistentVolumeClaim): string =>
  `${claim.metadata.labels?.[LABELS.origin] ?? ''}/${claim.metadata.labels?.[STORAGE_LABELS.volume] ?? ''}`;

/** Keeps consumers' volumes as claims in their twins. Keyed `<cluster ID>/<volume ID>`; stops when `signal` aborts. */
export const startPeerVolumes = (
  deps: ControllerDeps,
  links: Links,
  provider: ProviderSide,
  signal: AbortSignal,
): void => {
  const queue = createWorkQueue({ clock: deps.clock });
  const claims = deps.informers.for<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, {
    labelSelector: STORAGE_LABELS.volume,
  });
  const classes = deps.informers.for<StorageClass>(STORAGE_CLASS);
  claims.addIndexers({ [BY_ID]: (claim) => [keyOfClaim(claim)] });

  const linkOf = (clusterID: string): PeerLink | undefined =>
    links.list().find((link) => link.clusterID === clusterID);

  /** Only what stands in a twin of the consumer that it names is ours. */
  const ownClaim = (clusterID: string, id: string): PersistentVolumeClaim | undefined =>
    claims
      .byIndex(BY_ID, `${clusterID}/${id}`)
      .find(({ metadata }) => provider.consumerOf(metadata.namespace ?? '') === clusterID);

  const ageOf = ({ metadata }: PersistentVolumeClaim): number =>
    Math.max(0, deps.clock.now().getTime() - Date.parse(metadata.creationTimestamp ?? ''));

  const warningAbout = async (claim: PersistentVolumeClaim): Promise<string | undefined> => {
    if (claim.status?.phase !== 'Pending' || !(ageOf(claim) > WARNING_MS)) return undefined;
    const { items } = await deps.client.list<KubeEvent>(EVENT, {
      namespace: claim.metadata.namespace,
      // Not by its name alone: an earlier claim may have had it.
      fieldSelector: `regarding.uid=${claim.metadata.uid ?? ''},type=Warning,reason=ProvisioningFailed`,
      limit: 100,
      signal,
    });
    return items.toSorted((a, b) => seenAt(a) - seenAt(b)).at(-1)?.note;
  };

  const observe = async (clusterID: string, id: string): Promise<PeerVolumeWorld> => {
    const told = linkOf(clusterID)?.follow(VOLUMES);
    const wanted = told?.get(id);
    const twin = wanted === undefined ? undefined : provider.twinOf(clusterID, wanted.namespace);
    const claim = ownClaim(clusterID, id);
    const claimName = provider.claimName(clusterID, id, wanted?.claimName ?? '');
    const obstacle =
      claim === undefined && wanted !== undefined && twin !== undefined
        ? await provider
            .asPeering(clusterID)
            .get<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, claimName, twin, { signal })
        : undefined;
    return {
      id,
      clusterID,
      isOwn: provider.isOwn(clusterID),
      claimName,
      wanted,
      isComplete: told?.isComplete() ?? false,
      twin,
      claim,
      obstacle,
      hasDefaultClass: classes.list().some(isDefaultClass),
      warning: claim === undefined ? undefined : await warningAbout(claim),
      ageMs: claim === undefined ? 0 : ageOf(claim),
    };
  };

  /**
   * Whether this cluster's own claim may go, by what the API server says now; if so, its real volume gets the reclaim policy
   * back that its class gave it.
   */
  const letGo = async (id: string, homeClaim: PersistentVolumeClaim): Promise<boolean> => {
    const { client } = deps;
    const [namespace, name = ''] = (homeClaim.metadata.annotations?.[STORAGE_ANNOTATIONS.claim] ?? '').split(
      '/',
    );
    const volume = await client.get<PersistentVolume>(PERSISTENT_VOLUME, placeholderName(id), undefined, {
      signal,
    });
    const claim = await client.get<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, name, namespace, {
      signal,
    });
    const why = whyKept({ id, homeClaim, volume, claim });
    if (why !== undefined) {
      deps.log.warn('volume kept', { controller: 'storage.peer-volume', volume: id, why });
      return false;
    }
    const { volumeName } = homeClaim.spec;
    if (volumeName === undefined || volumeName === '') return true;
    const real = await client.get<PersistentVolume>(PERSISTENT_VOLUME, volumeName, undefined, { signal });
    const policy = real?.metadata.annotations?.[STORAGE_ANNOTATIONS.reclaimPolicy];
    if (real === undefined || policy === undefined || !isRealOf(homeClaim, real)) return true;
    const { uid, resourceVersion } = real.metadata;
    const body = {
      metadata: { uid, resourceVersion, annotations: { [STORAGE_ANNOTATIONS.reclaimPolicy]: null } },
      spec: { persistentVolumeReclaimPolicy: policy },
    };
    await client.patch(PERSISTENT_VOLUME, volumeName, undefined, body, {
      type: 'merge',
      fieldManager: FIELD_MANAGER,
      signal,
    });
    return true;
  };

  const reconcile = async (key: string): Promise<ReconcileResult> => {
    const [clusterID = '', id = ''] = key.split('/');
    const world = await observe(clusterID, id);
    const plan = planPeerVolume(world);
    const client = provider.asPeering(clusterID);
    const options = { fieldManager: FIELD_MANAGER, signal } as const;
    const publisher = linkOf(clusterID)?.publish(VOLUME_STATUS);
    const publish = (): void => {
      if (plan.status === 'forget') publisher?.delete(id);
      else if (plan.status !== undefined) publisher?.set(id, plan.status);
    };
    if (plan.create === undefined) publish();
    else {
      try {
        await client.create(PERSISTENT_VOLUME_CLAIM, plan.create, options);
        // Not before: where it is rejected again and again, that stays its status.
        publish();
        deps.log.info('volume claimed', { controller: 'storage.peer-volume', key });
      } catch (error) {
        if (isInvalid(error) || (isForbidden(error) && world.wanted !== undefined)) {
          publisher?.set(id, {
            uid: world.wanted?.uid ?? '',
            phase: 'Failed',
            reason: 'Rejected',
            message: (error instanceof Error ? error.message : '').slice(0, 1024),
          });
        }
        if (!isAlreadyExists(error)) throw error;
      }
    }
    const { claim } = world;
    if (claim === undefined) return world.obstacle === undefined ? {} : { requeueAfterMs: 5000 };
    const { name, namespace, uid, resourceVersion } = claim.metadata;
    if (plan.annotate !== undefined) {
      const body = { metadata: { uid, annotations: plan.annotate } };
      await client.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, body, { type: 'merge', ...options });
    }
    if (plan.deleteClaim && world.isOwn && !(await letGo(id, claim))) return { requeueAfterMs: WARNING_MS };
    if (plan.deleteClaim) {
      // One that was bound since it was looked at is looked at again.
      await client.delete(PERSISTENT_VOLUME_CLAIM, name, namespace, { uid, resourceVersion, signal });
      deps.log.info('volume deleted', { controller: 'storage.peer-volume', key });
    }
    return claim.status?.phase === 'Pending' && world.wanted?.state !== 'retained'
      ? { requeueAfterMs: WARNING_MS + 500 }
      : {};
  };

  const keysOf = (link: PeerLink): readonly string[] => [
    ...new Set([
      ...[...link.follow(VOLUMES).entries().keys()].map((id) => `${link.clusterID}/${id}`),
      ...claims
        .list()
        .map(keyOfClaim)
        .filter((key) => key.startsWith(`${link.clusterID}/`)),
    ]),
  ];

  const attach = async (link: PeerLink): Promise<void> => {
    await Promise.all([claims.whenSynced(signal), provider.namespaces.whenSynced(signal)]);
    link.follow(VOLUMES).onChange((id) => {
      for (const key of id === undefined ? keysOf(link) : [`${link.clusterID}/${id}`]) queue.add(key);
    });
    for (const key of keysOf(link)) queue.add(key);
    // What is here already is said before the list counts as whole.
    for (const key of keysOf(link)) {
      const id = key.split('/')[1] ?? '';
      const status = planPeerVolume(await observe(link.clusterID, id)).status;
      if (status !== undefined && status !== 'forget') link.publish(VOLUME_STATUS).set(id, status);
      else if (ownClaim(link.clusterID, id) !== undefined)
        link
          .publish(VOLUME_STATUS)
          .set(id, { uid: ownClaim(link.clusterID, id)?.metadata.uid ?? '', phase: 'Pending' });
    }
    link.publish(VOLUME_STATUS).markComplete();
  };

  links.onLink((link) => {
    attach(link).catch((err: unknown) => {
      if (!signal.aborted && !link.signal.aborted)
        deps.log.error('volumes not reported', { peer: link.peer, err });
    });
  });

  void runController(
    {
      name: 'storage.peer-volume',
      queue,
      sources: [
        watchSource(claims, ({ object }) => [keyOfClaim(object)]),
        watchSource(classes, () => links.list().flatMap(keysOf)),
        watchSource(provider.namespaces, (change) =>
          change.type === 'updated'
            ? []
            : links
                .list()
                .filter((link) => link.clusterID === change.object.metadata.labels?.[LABELS.origin])
                .flatMap(keysOf),
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
