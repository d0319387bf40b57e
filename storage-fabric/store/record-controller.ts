/** `storage.record`: tells peers which copies of their volumes this cluster's store holds, each its own only. */
import { randomBytes } from 'node:crypto';
import { messageWithHint } from '../../api/errors.ts';
import type { ItemOf, Links, PeerLink } from '../../api/link.ts';
import { newestFirst } from '../../api/recovery-points.ts';
import { MOST_RECORDS, RECORD_REQUESTS, RECORDS } from '../../api/storage-collections.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { ownFront } from './own-front.ts';
import type { OwnStore } from './store-controller.ts';
import type { Tenants } from './tenant-controller.ts';
import { signToken } from './tokens.ts';

type Request = ItemOf<typeof RECORD_REQUESTS>;
type Records = ItemOf<typeof RECORDS>;

/** A store that failed is asked again; that of a lower epoch than it has seen stays refused all the same. */
const RETRY_MS = 15_000;
const TOKEN_SECONDS = 120;

/** Starts the controller; keys are `<peer>/<volume>`. */
export const startRecordController = (
  deps: ControllerDeps,
  links: Links,
  store: OwnStore,
  tenants: Tenants,
  signal: AbortSignal,
): void => {
  const { clock, log, metrics } = deps;
  const queue = createWorkQueue({ clock });
  /** Questions that were answered with records, by key: such an answer is final. */
  const answered = new Map<string, number>();

  const read = async (link: PeerLink, volume: string, { epoch, attempt }: Request): Promise<Records> => {
    const closed = tenants.whyNot(link);
    if (closed !== undefined) return { attempt, refused: closed };
    const item = store.item();
    const key = store.tokenKey();
    if (item?.ready !== true || key === undefined)
      return {
        attempt,
        refused: {
          reason: store.isInstalled() ? 'StoreNotReady' : 'NoStore',
          message: item?.message ?? `the store of cluster ${deps.clusterName} is not ready`,
        },
      };
    // the tenant is who asks
    const tenant = link.clusterID;
    const issued = clock.now().getTime();
    const expires = Math.floor(issued / 1000) + TOKEN_SECONDS;
    const id = randomBytes(16).toString('hex');
    const token = signToken(key, { tenant, volume, kind: 'read', epoch, expires, issued, id });
    try {
      const records = await ownFront(store, token).commits(`/${tenant}/${volume}/`);
      const newest = records.toSorted(newestFirst).slice(0, MOST_RECORDS);
      return { attempt, records: newest.map(({ volume: _volume, ...record }) => record) };
    } catch (error) {
      return { attempt, refused: { reason: 'StoreRefused', message: messageWithHint(error).slice(0, 1024) } };
    }
  };

  const reconcile = async (key: string): Promise<ReconcileResult> => {
    const slash = key.indexOf('/');
    const volume = key.slice(slash + 1);
    const link = links.get(key.slice(0, slash));
    const request = link?.follow(RECORD_REQUESTS).get(volume);
    if (link === undefined || request === undefined) {
      answered.delete(key);
      link?.publish(RECORDS).delete(volume);
      return {};
    }
    // comes again as soon as the store has been looked at
    if (!store.isKnown() || !tenants.isKnown() || answered.get(key) === request.attempt) return {};
    const answer = await read(link, volume, request);
    link.publish(RECORDS).set(volume, answer);
    if (answer.records === undefined) return { requeueAfterMs: RETRY_MS };
    answered.set(key, request.attempt);
    return {};
  };

  const all = (link: PeerLink): void => {
    for (const volume of [...link.follow(RECORD_REQUESTS).entries().keys(), ...link.publish(RECORDS).ids()])
      queue.add(`${link.peer}/${volume}`);
  };
  links.onLink((link) => {
    link
      .follow(RECORD_REQUESTS)
      .onChange((id) => (id === undefined ? all(link) : queue.add(`${link.peer}/${id}`)));
    link.publish(RECORDS).markComplete();
    all(link);
  });
  store.onChange(() => links.list().forEach(all));
  tenants.onChange((peer) =>
    links
      .list()
      .filter((link) => peer === undefined || link.peer === peer)
      .forEach(all),
  );
  runController(
    { name: 'storage.record', sources: [], reconcile, workers: 2, queue, log, clock, metrics },
    signal,
  ).catch((err: unknown) => {
    if (!signal.aborted) log.error('a controller ended', { controller: 'storage.record', err });
  });
};
