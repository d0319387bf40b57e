/** What the front knows of a volume: its epoch (kept in the store), who is writing, and the bytes that crossed. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { isMarker, objectKey, volumePrefix } from './keys.ts';
import type { ObjectStore } from './object-store.ts';
import type { Account } from './plan-quota.ts';

/** Bytes that crossed the network since the front met the volume. */
export interface Usage {
  /** Towards the store, bodies only. */
  received: number;
  sent: number;
  /** The last refusal or failure, for a mover that only sees a status. */
  lastError?: {
    readonly code: string;
    readonly message: string;
    readonly hint: string | undefined;
    readonly at: string;
  };
}

/** A write under way. */
export interface Writing {
  /** Aborts when the epoch is raised over the writer's. */
  readonly signal: AbortSignal;
  end(): void;
}

/** A volume of a tenant. */
export interface VolumeState {
  epoch(): number;
  readonly usage: Usage;
  /** What lies in the store and what is on its way there; the ledger's. */
  readonly account: Account;
  /** Reads the epoch anew from the store, since another front may have raised it. */
  refresh(): Promise<void>;
  /**
   * Makes the epoch at least `to`, in the store first. Once it resolves no writer of a lower one publishes anything
   * through this front: those under way were stopped and have ended.
   */
  raise(to: number): Promise<void>;
  /** Throws STALE_EPOCH when the volume is past `epoch`. */
  beginWrite(epoch: number): Writing;
}

interface Marker {
  readonly epoch: number;
  readonly etag: string;
}

const MAX_TRIES = 10;

const readMarker = async (store: ObjectStore, key: string): Promise<Marker | undefined> => {
  try {
    const { body, etag, size } = await store.get(key);
    if (size > 4096) {
      body.destroy();
      throw new FluviaError(ERROR_CODES.INTERNAL, `${key} is not an epoch marker: it has ${size} bytes`);
    }
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk as Buffer);
    const { epoch } = JSON.parse(Buffer.concat(chunks).toString()) as { epoch: number };
    if (!Number.isSafeInteger(epoch)) {
      throw new FluviaError(ERROR_CODES.INTERNAL, `${key} holds no epoch`);
    }
    return { epoch, etag };
  } catch (error) {
    if (error instanceof FluviaError && error.code === ERROR_CODES.NOT_FOUND) return undefined;
    throw error;
  }
};

/** Loads a volume's state. */
export const openVolume = async (
  store: ObjectStore,
  tenant: string,
  volume: string,
): Promise<VolumeState> => {
  const key = objectKey({ tenant, volume, target: { kind: 'epoch' } });
  const writers = new Map<symbol, { epoch: number; stop: AbortController; ended: Promise<void> }>();
  const usage: Usage = { received: 0, sent: 0 };
  const account: Account = { stored: 0, reserved: 0 };
  let epoch = (await readMarker(store, key))?.epoch ?? 0;
  for await (const { key: one, size } of store.list(volumePrefix(tenant, volume))) {
    if (!isMarker(one)) account.stored += size;
  }

  const stopOlder = async (): Promise<void> => {
    const older = [...writers.values()].filter((writer) => writer.epoch < epoch);
    const reason = new FluviaError(ERROR_CODES.STALE_EPOCH, `the volume is at epoch ${epoch} now`);
    for (const { stop } of older) stop.abort(reason);
    await Promise.all(older.map(({ ended }) => ended));
  };
  const adopt = async (seen: number): Promise<void> => {
    if (seen <= epoch) return;
    epoch = seen;
    await stopOlder();
  };

  return {
    usage,
    account,
    epoch: () => epoch,
    refresh: async () => adopt((await readMarker(store, key))?.epoch ?? 0),
    raise: async (to) => {
      for (let tries = 0; ; tries += 1) {
        // changed by other calls while this one waits
        if (epoch >= to) break;
        const marker = await readMarker(store, key);
        if (marker !== undefined && marker.epoch >= to) {
          await adopt(marker.epoch);
          return;
        }
        const body = Buffer.from(`${JSON.stringify({ epoch: to })}\n`);
        const condition = marker === undefined ? { ifAbsent: true as const } : { ifMatch: marker.etag };
        if (await store.putSmall(key, body, condition)) {
          await adopt(to);
          return;
        }
        if (tries >= MAX_TRIES) {
          throw new FluviaError(
            ERROR_CODES.CONFLICT,
            `others keep changing the epoch of ${tenant}/${volume}`,
          );
        }
      }
      // another call may have raised it and be waiting for the writers still
      await stopOlder();
    },
    beginWrite: (of) => {
      if (of < epoch) {
        throw new FluviaError(
          ERROR_CODES.STALE_EPOCH,
          `the token is of epoch ${of}, the volume is at ${epoch}`,
        );
      }
      const id = Symbol('writer');
      const stop = new AbortController();
      const { promise: ended, resolve } = Promise.withResolvers<void>();
      writers.set(id, { epoch: of, stop, ended });
      return {
        signal: stop.signal,
        end: () => {
          writers.delete(id);
          resolve();
        },
      };
    },
  };
};

/** A volume that somebody is at; it is not forgotten before `release` was called. */
export interface HeldVolume {
  readonly state: Promise<VolumeState>;
  release(): void;
}

/** The volumes that a front has met. */
export interface Volumes {
  hold(tenant: string, volume: string): HeldVolume;
}

/** Peers name volumes as they like: more are forgotten, those first that nobody was at for longest. */
const MOST_KEPT = 10_000;

interface Kept {
  readonly state: Promise<VolumeState>;
  users: number;
}

/** Loads each volume once, and keeps its state, a few hundred bytes, for as long as there is room or somebody is at it. */
export const createVolumes = (store: ObjectStore, mostKept = MOST_KEPT): Volumes => {
  /** Those that nobody is at since longest come first. */
  const volumes = new Map<string, Kept>();
  const forgetIdle = (): void => {
    for (const [key, { users }] of volumes) {
      if (volumes.size <= mostKept) return;
      if (users === 0) volumes.delete(key);
    }
  };
  return {
    hold: (tenant, volume) => {
      const key = volumePrefix(tenant, volume);
      const kept = volumes.get(key) ?? { state: openVolume(store, tenant, volume), users: 0 };
      kept.users += 1;
      volumes.delete(key);
      volumes.set(key, kept);
      const drop = (): void => {
        if (volumes.get(key) === kept) volumes.delete(key);
      };
      kept.state.catch(drop);
      forgetIdle();
      return {
        state: kept.state,
        release: () => {
          kept.users -= 1;
        },
      };
    },
  };
};
