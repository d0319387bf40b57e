/** `storage.token`: answers peers' TOKEN_REQUESTS with tokens of this cluster's store, each for its own prefix only. */
import { ERROR_CODES, FluviaError, messageWithHint } from '../../api/errors.ts';
import type { ItemOf, Links, PeerLink } from '../../api/link.ts';
import { TOKEN_REQUESTS, TOKENS } from '../../api/storage-collections.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, type WatchSource } from '../../runtime/kube/controller.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { ownFront } from './own-front.ts';
import { planToken, type Answered, type StoreState } from './plan-token.ts';
import type { OwnStore } from './store-controller.ts';
import type { Tenants } from './tenant-controller.ts';
import { controlToken, signToken, tokenId } from './tokens.ts';

type Request = ItemOf<typeof TOKEN_REQUESTS>;
type Token = ItemOf<typeof TOKENS>;

const RETRY_MS = 5000;

/** Starts the controller; keys are `<peer>/<request ID>`. */
export const startTokenController = (
  deps: ControllerDeps,
  links: Links,
  store: OwnStore,
  tenants: Tenants,
  signal: AbortSignal,
): void => {
  const { clock, log, metrics } = deps;
  const queue = createWorkQueue({ clock });
  /** What this leader answered, by key. */
  const answers = new Map<string, Answered>();

  const stateOf = (link: PeerLink): StoreState => {
    if (tenants.whyNot(link) !== undefined) return 'closed';
    if (store.item()?.ready === true && store.tokenKey() !== undefined) return 'ready';
    return store.isInstalled() ? 'unready' : 'missing';
  };

  const revoke = async (link: PeerLink, request: string, attempt: number): Promise<void> => {
    const key = store.tokenKey();
    if (key === undefined) return;
    const front = ownFront(store, controlToken(key, link.clusterID, clock.now()));
    await front.revoke(link.clusterID, tokenId(key, link.clusterID, request, attempt));
    log.info('revoked a token of the store', { controller: 'storage.token', peer: link.peer, request });
  };

  const issue = async (link: PeerLink, id: string, request: Request): Promise<Token> => {
    const key = store.tokenKey();
    if (key === undefined) throw new FluviaError(ERROR_CODES.UNREACHABLE, "the store's key is not there yet");
    // the peer may have gone while an older token was revoked: all that it has is ended then, and this would come after
    const why = tenants.whyNot(link);
    if (why !== undefined) throw new FluviaError(ERROR_CODES.FORBIDDEN, why.message);
    const { volume, kind, epoch, lifetimeSeconds, attempt } = request;
    const issued = clock.now().getTime();
    const expires = Math.floor(issued / 1000) + lifetimeSeconds;
    // the tenant is who asks, never what it asks for
    const tenant = link.clusterID;
    const token = signToken(key, {
      tenant,
      volume,
      kind,
      epoch,
      expires,
      issued,
      id: tokenId(key, tenant, id, attempt),
    });
    const path = `/${tenant}/${volume}/`;
    // before anyone has the token the store must be past every older epoch
    await ownFront(store, token).raise(path);
    return { attempt, token, path, expiresAt: new Date(expires * 1000).toISOString() };
  };

  const refusalOf = (attempt: number, reason: string, message: string): Token => ({
    attempt,
    refused: { reason, message: message.slice(0, 1024) },
  });

  /** Only once each request has its answer: a token that isn't made anew yet must not look taken back. */
  const completeOnceAnswered = (link: PeerLink): void => {
    const requests = link.follow(TOKEN_REQUESTS);
    const publisher = link.publish(TOKENS);
    const answered = new Set(publisher.ids());
    if (requests.isComplete() && [...requests.entries().keys()].every((id) => answered.has(id))) {
      publisher.markComplete();
    }
  };

  const reconcileOf = async (
    key: string,
    id: string,
    link: PeerLink,
  ): Promise<{ requeueAfterMs?: number }> => {
    const requests = link.follow(TOKEN_REQUESTS);
    const request = requests.get(id);
    // before everything was heard an absence says nothing
    if (request === undefined && !requests.isComplete()) return {};
    const publisher = link.publish(TOKENS);
    const plan = planToken(request, answers.get(key), stateOf(link));
    if (plan.revokeAttempt !== undefined) {
      await revoke(link, id, plan.revokeAttempt);
      answers.delete(key);
    }
    if (plan.next === 'keep') return {};
    if (plan.next === 'withdraw' || request === undefined) {
      publisher.delete(id);
      answers.delete(key);
      return {};
    }
    const { attempt, volume, kind, epoch } = request;
    const answer = (token: Token, issued: boolean): void => {
      publisher.set(id, token);
      answers.set(key, { attempt, volume, kind, epoch, issued });
    };
    if (plan.next === 'refuse') {
      const tenant = tenants.whyNot(link);
      const why =
        tenant?.message ??
        (plan.reason === 'NoStore'
          ? `cluster ${deps.clusterName} has no store: fluviactl install --object-store`
          : (store.item()?.message ?? 'the store is not ready'));
      answer(refusalOf(attempt, tenant?.reason ?? plan.reason ?? 'StoreNotReady', why), false);
      return {};
    }
    try {
      answer(await issue(link, id, request), true);
      return {};
    } catch (error) {
      const isStale = error instanceof FluviaError && error.code === ERROR_CODES.STALE_EPOCH;
      answer(refusalOf(attempt, isStale ? 'StaleEpoch' : 'StoreNotReady', messageWithHint(error)), false);
      // a stale epoch stays stale: home asks anew with its own
      return isStale ? {} : { requeueAfterMs: RETRY_MS };
    }
  };

  const reconcile = async (key: string): Promise<{ requeueAfterMs?: number }> => {
    const slash = key.indexOf('/');
    const link = links.get(key.slice(0, slash));
    if (link === undefined) {
      answers.delete(key);
      return {};
    }
    // comes again as soon as the store has been looked at
    if (!store.isKnown() || !tenants.isKnown()) return {};
    const result = await reconcileOf(key, key.slice(slash + 1), link);
    completeOnceAnswered(link);
    return result;
  };

  const everyKey = (link: PeerLink): string[] =>
    [...new Set([...link.follow(TOKEN_REQUESTS).entries().keys(), ...link.publish(TOKENS).ids()])].map(
      (id) => `${link.peer}/${id}`,
    );
  const source: WatchSource = {
    whenSynced: () => Promise.resolve(),
    subscribe: (enqueue) => {
      const stops = new Set<() => void>();
      const watch = (link: PeerLink): void => {
        const requests = link.follow(TOKEN_REQUESTS);
        const onChange = (id: string | undefined): void => {
          if (id !== undefined) enqueue(`${link.peer}/${id}`);
          else {
            for (const key of everyKey(link)) enqueue(key);
            completeOnceAnswered(link);
          }
        };
        stops.add(requests.onChange(onChange));
        if (requests.isComplete()) onChange(undefined);
      };
      stops.add(links.onLink(watch));
      const again = (peer?: string): void => {
        for (const link of links.list())
          if (peer === undefined || link.peer === peer) for (const key of everyKey(link)) enqueue(key);
      };
      store.onChange(() => again());
      tenants.onChange(again);
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
  runController(
    { name: 'storage.token', sources: [source], reconcile, workers: 2, queue, log, clock, metrics },
    signal,
  ).catch((err: unknown) => {
    if (!signal.aborted) log.error('a controller ended', { controller: 'storage.token', err });
  });
};
