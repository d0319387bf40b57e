import { createHash } from 'node:crypto';
import type { Links, PeerLink } from '../../api/link.ts';
import { TRANSFER_STATUS, TRANSFERS } from '../../api/storage-collections.ts';
import { STORAGE_ANNOTATIONS, STORAGE_LABELS } from '../../api/storage-names.ts';
import { seenAs } from '../../api/views.ts';
import { ViewKind, type View } from '../../api/v1alpha1/view.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isForbidden, isInvalid } from '../../runtime/kube/errors.ts';
import {
  fluviaResource,
  JOB,
  pathOf,
  PERSISTENT_VOLUME_CLAIM,
  POD,
  SECRET,
} from '../../runtime/kube/resources.ts';
import type { Job, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { KubeObject, Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import type { ProviderSide } from '../provider-side.ts';
import { FIELD_MANAGER } from '../volumes/home-volumes.ts';
import { claimKeysOf, PODS_BY_CLAIM } from '../volumes/volume-users.ts';
import {
  isEnded,
  mostMovers,
  writerOf,
  QUEUED,
  transferJob,
  transferSecret,
  transferStatus,
  type TransferItem,
  type TransferPlace,
  type TransferStatus,
} from './plan-transfer.ts';
import { MoverProgress } from './transfer-file.ts';

const PROGRESS_MS = 2000;
const LOOK_AGAIN_MS = 1000;
const VIEW = fluviaResource(ViewKind.kind, ViewKind.plural, false);
const BY_TRANSFER = 'storage/transfer';

const nameOf = (key: string): string =>
  `fluvia-mover-${createHash('sha256').update(key).digest('hex').slice(0, 16)}`;

/** Runs the movers that consumers ask for. Keyed `<cluster ID>/<transfer ID>`; stops when `signal` aborts. */
export const startTransfers = (
  deps: ControllerDeps,
  links: Links,
  provider: ProviderSide,
  ownClusterID: string,
  signal: AbortSignal,
): void => {
  const queue = createWorkQueue({ clock: deps.clock });
  const scope = { labelSelector: STORAGE_LABELS.transfer };
  const jobs = deps.informers.for<Job>(JOB, scope);
  const pods = deps.informers.for<Pod>(POD, scope);
  /** All pods: whoever uses a volume here. */
  const users = deps.informers.for<Pod>(POD);
  users.addIndexers({ [PODS_BY_CLAIM]: claimKeysOf });
  const claims = deps.informers.for<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, {
    labelSelector: STORAGE_LABELS.volume,
  });
  const views = deps.informers.for<View>(VIEW);
  /** Movers begun here whose Job the cache doesn't show yet, so that several at once can't pass the limit: key → consumer. */
  const begun = new Map<string, string>();
  const keyOf = (object: KubeObject): string =>
    object.metadata.annotations?.[STORAGE_ANNOTATIONS.transferID] ?? '';
  jobs.addIndexers({ [BY_TRANSFER]: (job) => [keyOf(job)] });
  pods.addIndexers({ [BY_TRANSFER]: (pod) => [keyOf(pod)] });

  const linkOf = (clusterID: string): PeerLink | undefined =>
    links.list().find((link) => link.clusterID === clusterID);
  /** Jobs and pods count only where the peering may make them: in its own twins. */
  const isIn = (clusterID: string, object: KubeObject): boolean =>
    provider.consumerOf(object.metadata.namespace ?? '') === clusterID;

  const addressOf = (store: TransferItem['store']): string | undefined => {
    if (store.clusterID === ownClusterID) return store.address;
    const view = views.list().find(({ spec }) => spec.clusterID === store.clusterID);
    return view === undefined ? undefined : seenAs(view.spec.theirs, store.address);
  };

  const progressOf = async (clusterID: string, pod: Pod): Promise<MoverProgress | undefined> => {
    const { name, namespace } = pod.metadata;
    const path = `${pathOf(POD, namespace, name, 'log')}?container=mover&tailLines=2&limitBytes=4096`;
    const text = await provider
      .asPeering(clusterID)
      .request('GET', path, undefined, {}, { signal, timeoutMs: 5000 })
      .catch(() => undefined);
    const lines = (typeof text === 'string' ? text : JSON.stringify(text ?? '')).trim().split('\n');
    for (const line of lines.toReversed()) {
      try {
        const parsed = MoverProgress.safeParse(JSON.parse(line));
        if (parsed.success) return parsed.data;
      } catch {
        // restic or the mover said something else
      }
    }
    return undefined;
  };

  /** What keeps the transfer from beginning; the place where it goes when nothing does. */
  const prepare = (key: string, clusterID: string, item: TransferItem): TransferPlace | TransferStatus => {
    const no = (reason: string, message: string): TransferStatus => ({ phase: 'Failed', reason, message });
    const twin = provider.twinOf(clusterID, item.namespace);
    const claimName = provider.claimName(clusterID, item.volume, item.claimName);
    const claim = twin === undefined ? undefined : claims.get(twin, claimName);
    if (twin === undefined || claim?.metadata.labels?.[STORAGE_LABELS.volume] !== item.volume)
      return no('NoVolume', `there is no volume ${item.volume} here`);
    if (deps.image === undefined) return no('NoImage', 'FLUVIA_IMAGE is not set: install Fluvia anew');
    const storeAddress = addressOf(item.store);
    if (storeAddress === undefined)
      return no(
        'StoreUnreachable',
        `this cluster has no view of cluster ${item.store.clusterID}: peer the two, or open transit`,
      );
    const epoch = claim.metadata.annotations?.[STORAGE_ANNOTATIONS.epoch];
    const state = claim.metadata.annotations?.[STORAGE_ANNOTATIONS.state];
    // Told by another collection: it may be a moment behind.
    if (Number(epoch) > item.epoch)
      return no('StaleEpoch', `the volume is at epoch ${epoch ?? ''}: this order is of epoch ${item.epoch}`);
    if (epoch !== String(item.epoch)) return { phase: 'Pending', message: `waiting for epoch ${item.epoch}` };
    if (item.action === 'restore' && state !== 'restoring')
      return { phase: 'Pending', message: 'waiting until nothing may use the volume' };
    const others = pods
      .list()
      .filter((pod) => pod.metadata.labels?.[STORAGE_LABELS.volume] === item.volume && keyOf(pod) !== key)
      .filter((pod) => isIn(clusterID, pod) && !['Succeeded', 'Failed'].includes(pod.status?.phase ?? ''));
    if (others.length > 0) return { phase: 'Pending', message: 'waiting for an earlier mover to end' };
    // Home let its pods go, but only their end here stops them from writing.
    const writer = item.writerStopped
      ? writerOf(claimName, users.byIndex(PODS_BY_CLAIM, `${twin}/${claimName}`))
      : undefined;
    if (writer !== undefined)
      return {
        phase: 'Pending',
        message: `waiting for pod ${writer.metadata.name} to end, which uses the volume`,
      };
    const running =
      jobs.list().filter((job) => isIn(clusterID, job) && !isEnded(job)).length +
      [...begun].filter(([other, consumer]) => consumer === clusterID && other !== key).length;
    const most = mostMovers(item.action);
    if (running >= most)
      return {
        phase: 'Pending',
        reason: QUEUED,
        message: `waiting for one of ${running} movers to end: ${most} may run at once`,
      };
    const [, transferID = ''] = key.split('/');
    return { clusterID, transferID, name: nameOf(key), twin, claimName, image: deps.image, storeAddress };
  };

  const remove = async (clusterID: string, job: Job): Promise<void> => {
    const client = provider.asPeering(clusterID);
    const { name, namespace, uid } = job.metadata;
    await client.delete(SECRET, name, namespace, { signal });
    await client.delete(JOB, name, namespace, { uid, propagationPolicy: 'Background', signal });
  };

  const begin = async (place: TransferPlace, item: TransferItem): Promise<void> => {
    const client = provider.asPeering(place.clusterID);
    const options = { fieldManager: FIELD_MANAGER, signal } as const;
    const tolerant = (error: unknown): void => {
      if (!isAlreadyExists(error)) throw error;
    };
    await client.create(SECRET, transferSecret(place, item), options).catch(tolerant);
    await client.create(JOB, transferJob(place, item), options).catch(tolerant);
    deps.log.info('mover started', {
      controller: 'storage.transfer',
      action: item.action,
      volume: item.volume,
      transfer: place.transferID,
    });
  };

  const reconcile = async (key: string): Promise<ReconcileResult> => {
    const [clusterID = '', id = ''] = key.split('/');
    const link = linkOf(clusterID);
    const told = link?.follow(TRANSFERS);
    const item = told?.get(id);
    const publisher = link?.publish(TRANSFER_STATUS);
    const job = jobs.byIndex(BY_TRANSFER, key).find((one) => isIn(clusterID, one));
    if (item === undefined || job !== undefined) begun.delete(key);
    if (item === undefined) {
      publisher?.delete(id);
      if (job === undefined || job.metadata.deletionTimestamp !== undefined) return {};
      // A consumer that has said nothing yet takes nothing back; the Job's own deadline ends it.
      if (link === undefined || told?.isComplete() === true) await remove(clusterID, job);
      return {};
    }
    if (job === undefined) {
      const place = prepare(key, clusterID, item);
      if ('phase' in place) {
        publisher?.set(id, place);
        return place.phase === 'Pending' ? { requeueAfterMs: LOOK_AGAIN_MS } : {};
      }
      begun.set(key, clusterID);
      try {
        await begin(place, item);
        publisher?.set(id, { phase: 'Pending' });
      } catch (error) {
        begun.delete(key);
        if (!isForbidden(error) && !isInvalid(error)) throw error;
        const message = (error instanceof Error ? error.message : String(error)).slice(0, 1024);
        publisher?.set(id, { phase: 'Failed', reason: 'Rejected', message });
      }
      return {};
    }
    const own = pods.byIndex(BY_TRANSFER, key).filter((pod) => isIn(clusterID, pod));
    const running = own.find((pod) => pod.status?.phase === 'Running');
    const progress = running === undefined ? undefined : await progressOf(clusterID, running);
    publisher?.set(id, transferStatus(item.action, job, own, progress));
    return running === undefined ? {} : { requeueAfterMs: PROGRESS_MS };
  };

  const attach = async (link: PeerLink): Promise<void> => {
    await Promise.all(
      [jobs, pods, users, claims, provider.namespaces].map((informer) => informer.whenSynced(signal)),
    );
    const keys = (): readonly string[] => [
      ...[...link.follow(TRANSFERS).entries().keys()].map((id) => `${link.clusterID}/${id}`),
      ...jobs
        .list()
        .map(keyOf)
        .filter((key) => key.startsWith(`${link.clusterID}/`)),
    ];
    link.follow(TRANSFERS).onChange((id) => {
      for (const key of id === undefined ? keys() : [`${link.clusterID}/${id}`]) queue.add(key);
    });
    for (const key of keys()) queue.add(key);
    link.publish(TRANSFER_STATUS).markComplete();
  };

  links.onLink((link) => {
    attach(link).catch((err: unknown) => {
      if (!signal.aborted && !link.signal.aborted)
        deps.log.error('transfers not followed', { peer: link.peer, err });
    });
  });

  void runController(
    {
      name: 'storage.transfer',
      queue,
      sources: [
        watchSource(jobs, ({ object }) => [keyOf(object)]),
        watchSource(pods, ({ object }) => [keyOf(object)]),
      ],
      reads: [claims, views, users, provider.namespaces],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
