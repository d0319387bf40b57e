import type { Links, PeerLink } from '../../api/link.ts';
import { STORE, TOKEN_REQUESTS, TOKENS, TRANSFER_STATUS, TRANSFERS } from '../../api/storage-collections.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { TransferItem, TransferStatus } from '../mover/plan-transfer.ts';

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
  readonly phase: 'asking' | 'running' | 'succeeded' | 'failed';
  readonly result: TransferStatus['result'];
  readonly message: string | undefined;
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
  failure: string | undefined;
}

/** `onChange` gets the volume whenever something about its mover may have changed. */
export const createTransfers = (
  links: Links,
  clock: Clock,
  onChange: (volume: string) => void,
): Transfers => {
  const running = new Map<string, Running>();
  /** Volume → the transfer that was taken back, until its runner has nothing of it any more. */
  const ending = new Map<string, TransferWish>();

  const publish = ({ wish }: Running): TransferStatus | { readonly failure: string } | undefined => {
    const target = links.get(wish.target);
    const runner = links.get(wish.runner);
    if (target === undefined || runner === undefined) return { failure: 'the peering is gone' };
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
    if (token?.token === undefined || token.path === undefined || store === undefined) return undefined;
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
    const none = { result: undefined, bytesDone: undefined, bytesTotal: undefined };
    const failed = (message: string): TransferState => ({ ...none, wish, phase: 'failed', message });
    if (one.failure !== undefined) return failed(one.failure);
    const status = publish(one);
    if (status !== undefined && 'failure' in status) {
      one.failure = status.failure;
      return failed(status.failure);
    }
    if (status?.phase === 'Failed')
      return failed(`${status.reason ?? 'Failed'}: ${status.message ?? 'the mover failed'}`);
    if (clock.monotonicMs() - one.since > wish.deadlineSeconds * 1000 + PATIENCE_MS)
      return failed('TimedOut: the mover did not end in time');
    if (status === undefined) return { ...none, wish, phase: 'asking', message: undefined };
    return {
      wish,
      phase: status.phase === 'Succeeded' ? 'succeeded' : 'running',
      result: status.result,
      message: status.message,
      bytesDone: status.bytesDone,
      bytesTotal: status.bytesTotal,
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
      const one: Running = { wish, since: clock.monotonicMs(), failure: undefined };
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
