import type { Links, PeerLink } from '../../api/link.ts';
import { STORE, TOKEN_REQUESTS, TOKENS, TRANSFER_STATUS, TRANSFERS } from '../../api/storage-collections.ts';
import type { Clock } from '../../runtime/clock.ts';
import { QUEUED, type TransferItem, type TransferStatus } from '../mover/plan-transfer.ts';
import type { PlaceLoss } from './place-loss.ts';
import { whyStuck } from './plan-stuck.ts';

/** One mover that home wants. */
export interface TransferWish {
  /** Also the ID of the token request. */
  readonly id: string;
  readonly volume: string;
  readonly action: TransferItem['action'];
  /** What it is for: a move has its own movers. */
  readonly purpose: 'replica' | 'move';
  /** Peer that runs it. */
  readonly runner: string;
  /** Peer whose store it talks to. */
  readonly target: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly namespace: string;
  readonly claimName: string;
  readonly snapshotID?: string | undefined;
  readonly treeHash?: string | undefined;
  readonly parentSnapshotID?: string | undefined;
  readonly writerStopped: boolean;
  readonly keep?: number | undefined;
  /** Whether a copy may be one of nothing. */
  readonly mayBeEmpty?: boolean | undefined;
  /** Whether a copy is the tail of a peer that was lost. */
  readonly salvage?: boolean | undefined;
  readonly salvageSince?: string | undefined;
  readonly key: string;
  readonly deadlineSeconds: number;
}

export interface TransferState {
  readonly wish: TransferWish;
  /** `asking`: nothing was heard of it yet; `pending`: its Job does not run yet. */
  readonly phase: 'asking' | 'pending' | 'running' | 'succeeded' | 'failed';
  readonly result: TransferStatus['result'];
  /** Why it failed, or what it waits for. */
  readonly message: string | undefined;
  /** For how long it has not begun to run, milliseconds; 0 while it waits for its turn. */
  readonly waitedMs: number;
  readonly bytesDone: number | undefined;
  readonly bytesTotal: number | undefined;
}

/** The movers under way, at most one per volume; in memory only: a new leader begins anew, and the old Jobs go. */
export interface Transfers {
  get(volume: string): TransferState | undefined;
  start(wish: TransferWish): void;
  /** Takes the mover back with its token: its Job ends if it still runs. */
  end(volume: string): void;
  /** Whether the Job that was taken back may still run. */
  isEnding(volume: string): boolean;
}

const TOKEN_KIND = { backup: 'append', restore: 'read', maintain: 'maintain' } as const;
/** Beyond the Job's own deadline: for the token, the scheduler, the first word. */
const PATIENCE_MS = 120_000;

interface Running {
  readonly wish: TransferWish;
  readonly since: number;
  /** Since when it does not run though it could, monotonic. */
  waitingSince: number;
  failure: string | undefined;
}

/** What keeps an order from its runner, in words. */
interface Unordered {
  readonly missing: string;
}

/** `onChange` gets the volume whenever something about its mover may have changed. */
export const createTransfers = (
  links: Links,
  places: Pick<PlaceLoss, 'state'>,
  clock: Clock,
  onChange: (volume: string) => void,
): Transfers => {
  const running = new Map<string, Running>();
  /** Volume → the transfer that was taken back, until its runner has nothing of it any more. */
  const ending = new Map<string, TransferWish>();

  const publish = ({
    wish,
  }: Running): TransferStatus | Unordered | { readonly failure: string } | undefined => {
    const target = links.get(wish.target);
    const runner = links.get(wish.runner);
    if (target === undefined || runner === undefined) {
      const gone = target === undefined ? wish.target : wish.runner;
      return { failure: `PeerGone: there is no peer ${gone} any more: kubectl get peers` };
    }
    target.publish(TOKEN_REQUESTS).set(wish.id, {
      volume: wish.volume,
      kind: TOKEN_KIND[wish.action],
      epoch: wish.epoch,
      lifetimeSeconds: Math.min(86_400, wish.deadlineSeconds + 60),
      attempt: 0,
    });
    const token = target.follow(TOKENS).get(wish.id);
    if (token?.refused !== undefined)
      return { failure: `peer ${wish.target} gives no token: ${token.refused.message}` };
    const store = target.follow(STORE).get('store');
    if (store === undefined) return { missing: `peer ${wish.target} says nothing of its store` };
    if (token?.token === undefined || token.path === undefined)
      return { missing: `the store of peer ${wish.target} gives no token` };
    const item: TransferItem = {
      action: wish.action,
      volume: wish.volume,
      namespace: wish.namespace,
      claimName: wish.claimName,
      epoch: wish.epoch,
      sequence: wish.sequence,
      store: {
        clusterID: target.clusterID,
        address: store.address,
        port: store.port,
        caCertificate: store.caCertificate,
        serverName: store.serverName,
        path: token.path,
      },
      token: token.token,
      key: wish.key,
      ...(wish.snapshotID === undefined ? {} : { snapshotID: wish.snapshotID }),
      ...(wish.treeHash === undefined ? {} : { treeHash: wish.treeHash }),
      ...(wish.parentSnapshotID === undefined ? {} : { parentSnapshotID: wish.parentSnapshotID }),
      ...(wish.keep === undefined ? {} : { keep: wish.keep }),
      ...(wish.mayBeEmpty === undefined ? {} : { mayBeEmpty: wish.mayBeEmpty }),
      ...(wish.salvage === undefined ? {} : { salvage: wish.salvage }),
      ...(wish.salvageSince === undefined ? {} : { salvageSince: wish.salvageSince }),
      writerStopped: wish.writerStopped,
      deadlineSeconds: wish.deadlineSeconds,
    };
    // Once told it stays as it is: a Job can't change its token.
    if (!runner.publish(TRANSFERS).ids().includes(wish.id)) runner.publish(TRANSFERS).set(wish.id, item);
    return runner.follow(TRANSFER_STATUS).get(wish.id);
  };

  const stateOf = (one: Running): TransferState => {
    const { wish } = one;
    const none = { result: undefined, bytesDone: undefined, bytesTotal: undefined, waitedMs: 0 };
    const failed = (message: string): TransferState => ({ ...none, wish, phase: 'failed', message });
    /** It stays failed, whatever is heard of it later. */
    const failedForGood = (message: string): TransferState => {
      one.failure = message;
      return failed(message);
    };
    if (one.failure !== undefined) return failed(one.failure);
    const now = clock.monotonicMs();
    const known = publish(one);
    if (known !== undefined && 'failure' in known) return failedForGood(known.failure);
    const status = known !== undefined && 'phase' in known ? known : undefined;
    if (status?.phase === 'Failed')
      return failed(`${status.reason ?? 'Failed'}: ${status.message ?? 'the mover failed'}`);
    const told = {
      wish,
      result: status?.result,
      bytesDone: status?.bytesDone,
      bytesTotal: status?.bytesTotal,
    };
    if (status?.phase === 'Succeeded')
      return { ...told, phase: 'succeeded', message: status.message, waitedMs: 0 };
    const isRunning = status?.phase === 'Running';
    if (isRunning || status?.reason === QUEUED) one.waitingSince = now;
    const waitedMs = now - one.waitingSince;
    const message =
      known !== undefined && 'missing' in known
        ? known.missing
        : status === undefined
          ? `peer ${wish.runner} says nothing of the mover`
          : status.message;
    const stuck = whyStuck({
      runner: wish.runner,
      target: wish.target,
      states: { runner: places.state(wish.runner), target: places.state(wish.target) },
      isRunning,
      waitedMs,
      message,
    });
    if (stuck !== undefined) return failedForGood(stuck);
    if (now - one.since > wish.deadlineSeconds * 1000 + PATIENCE_MS)
      return failedForGood('TimedOut: the mover did not end in time');
    return {
      ...told,
      phase: isRunning ? 'running' : status === undefined ? 'asking' : 'pending',
      message,
      waitedMs,
    };
  };

  const volumeOf = (id: string | undefined): readonly string[] => {
    const all = [...running.values()].map(({ wish }) => wish).concat([...ending.values()]);
    return all.filter((wish) => id === undefined || wish.id === id).map(({ volume }) => volume);
  };

  const attach = (link: PeerLink): void => {
    const tell = (id: string | undefined): void => volumeOf(id).forEach(onChange);
    link.follow(TOKENS).onChange(tell);
    link.follow(TRANSFER_STATUS).onChange(tell);
    link.follow(STORE).onChange(() => volumeOf(undefined).forEach(onChange));
    // A new leader wants none of the old one's movers.
    link.publish(TOKEN_REQUESTS).markComplete();
    link.publish(TRANSFERS).markComplete();
  };
  links.onLink(attach);

  return {
    get: (volume) => {
      const one = running.get(volume);
      return one === undefined ? undefined : stateOf(one);
    },
    start: (wish) => {
      const since = clock.monotonicMs();
      const one: Running = { wish, since, waitingSince: since, failure: undefined };
      running.set(wish.volume, one);
      stateOf(one);
    },
    end: (volume) => {
      const one = running.get(volume);
      if (one === undefined) return;
      running.delete(volume);
      ending.set(volume, one.wish);
      links.get(one.wish.runner)?.publish(TRANSFERS).delete(one.wish.id);
      links.get(one.wish.target)?.publish(TOKEN_REQUESTS).delete(one.wish.id);
    },
    isEnding: (volume) => {
      const wish = ending.get(volume);
      if (wish === undefined) return false;
      const runner = links.get(wish.runner);
      if (runner?.isUp() === true && runner.follow(TRANSFER_STATUS).get(wish.id) !== undefined) return true;
      ending.delete(volume);
      return false;
    },
  };
};
