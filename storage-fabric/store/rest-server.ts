/**
 * The store's front: restic's REST protocol (v1 and v2) over TLS, with Fluvia's epochs, commit records and counts beside
 * it under `fluvia/`. A repository is at `/<tenant>/<volume>/`; the token is the password of HTTP basic authentication
 * or a bearer token. Bodies are streamed and published only when their length and hash are right.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { ERROR_CODES, FluviaError, messageOf, type ErrorCode } from '../../api/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import { COMMIT_BYTES, listCommits, readSmall, writeCommit } from './commits.ts';
import { feed, hasLeft } from './feed.ts';
import { parseAuthorization, parseRange } from './http-headers.ts';
import { baseName, objectKey } from './keys.ts';
import { createKeyLock } from './key-lock.ts';
import { createLedger, type Reservation } from './ledger.ts';
import type { ObjectStore } from './object-store.ts';
import { decideAccess, parsePath, type Action, type BlobType, type Place } from './plan-access.ts';
import type { RateLimit } from './rate-limit.ts';
import { createRevocations } from './revocations.ts';
import { verifyToken, type TokenClaims } from './tokens.ts';
import { verifiedBody } from './verified-body.ts';
import { createVolumes, type HeldVolume, type VolumeState, type Writing } from './volume-state.ts';

/** What a front is made of. */
export interface FrontOptions {
  readonly store: ObjectStore;
  /** The key that tokens are signed with; asked for at each request, since it may be renewed. */
  readonly tokenKey: () => Buffer;
  /** Most bytes that one volume may take; unlimited when missing. */
  readonly quotaBytes?: number;
  /** Most bytes that all volumes of one tenant may take together; unlimited when missing. */
  readonly tenantQuotaBytes?: number;
  readonly rateLimit?: RateLimit;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

const MAX_DATA_BYTES = 256 * 2 ** 20;
const MAX_META_BYTES = 64 * 2 ** 20;
/** Also of a lock and a key: restic's have a few hundred. */
const MAX_CONFIG_BYTES = 65_536;
const MAX_BYTES: Readonly<Record<BlobType, number>> = {
  data: MAX_DATA_BYTES,
  index: MAX_META_BYTES,
  snapshots: MAX_META_BYTES,
  keys: MAX_CONFIG_BYTES,
  locks: MAX_CONFIG_BYTES,
};
const COUNT_STEP = 2 ** 20;
const MAX_COUNTED_TOKENS = 10_000;
const V2 = 'application/vnd.x.restic.rest.v2';
const V1 = 'application/vnd.x.restic.rest.v1';

/** restic gives up at once at 401 and 403 and tries everything else again for a quarter of an hour. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  [ERROR_CODES.BAD_INPUT]: 400,
  [ERROR_CODES.FORBIDDEN]: 403,
  [ERROR_CODES.STALE_EPOCH]: 403,
  [ERROR_CODES.QUOTA_EXCEEDED]: 403,
  [ERROR_CODES.STORE_FULL]: 403,
  [ERROR_CODES.STORE_CREDENTIALS]: 403,
  [ERROR_CODES.STORE_BUCKET]: 403,
  [ERROR_CODES.NOT_FOUND]: 404,
  [ERROR_CODES.CONFLICT]: 409,
  [ERROR_CODES.UNREACHABLE]: 503,
};

const lengthOf = (request: IncomingMessage, limit: number): number => {
  const length = Number(request.headers['content-length'] ?? Number.NaN);
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, 'the request needs a Content-Length');
  }
  if (length > limit) throw new FluviaError(ERROR_CODES.BAD_INPUT, `the body is larger than ${limit} bytes`);
  return length;
};

const readBody = async (request: IncomingMessage, limit: number): Promise<Buffer> => {
  const length = lengthOf(request, limit);
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  if (body.length !== length) throw new FluviaError(ERROR_CODES.BAD_INPUT, 'the body was cut short');
  return body;
};

const json = (response: ServerResponse, body: unknown, type = 'application/json'): void => {
  response.writeHead(200, { 'content-type': type }).end(JSON.stringify(body));
};

/** A request that may go on. */
interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly place: Place;
  readonly claims: TokenClaims;
  readonly action: Action;
}

/** Makes the handler of a front's requests; it owns no socket. */
export const createFront = (options: FrontOptions): RequestHandler => {
  const { store, clock, log, metrics } = options;
  const volumes = createVolumes(store);
  const revocations = createRevocations(store, clock);
  const ledger = createLedger(store, {
    // asked for anew each time, as the token key is
    get volumeBytes() {
      return options.quotaBytes;
    },
    get tenantBytes() {
      return options.tenantQuotaBytes;
    },
  });
  /** What writes or deletes one object goes one after another, so that each is booked once. */
  const alone = createKeyLock();
  const bytes = metrics.counter('fluvia_store_bytes_total', 'Bytes of bodies that crossed the store front.');
  const requests = metrics.counter('fluvia_store_requests_total', 'Requests to the store front.');

  /** Bytes by token ID, so that a transfer's are known whoever else is at the volume; the oldest go. */
  const byToken = new Map<string, { received: number; sent: number }>();
  const count = (
    volume: VolumeState,
    claims: TokenClaims,
    direction: 'received' | 'sent',
    size: number,
  ): void => {
    volume.usage[direction] += size;
    const mine = byToken.get(claims.id) ?? { received: 0, sent: 0 };
    mine[direction] += size;
    if (!byToken.has(claims.id) && byToken.size >= MAX_COUNTED_TOKENS) {
      for (const oldest of byToken.keys()) {
        byToken.delete(oldest);
        break;
      }
    }
    byToken.set(claims.id, mine);
    bytes.inc({ tenant: claims.tenant, direction }, size);
  };
  /** Counts a body's chunks, a mebibyte at a time: each count costs more than passing a chunk on. */
  const counting = (
    volume: VolumeState,
    claims: TokenClaims,
    direction: 'received' | 'sent',
  ): { add(size: number): void; flush(): void } => {
    let pending = 0;
    const flush = (): void => {
      if (pending > 0) count(volume, claims, direction, pending);
      pending = 0;
    };
    return {
      add: (size) => {
        pending += size;
        if (pending >= COUNT_STEP) flush();
      },
      flush,
    };
  };
  const reserve = (call: Call, volume: VolumeState, size: number, isTidying: boolean): Promise<Reservation> =>
    ledger.reserve(call.place.tenant, volume.account, { size, isTidying });
  /** Ends a reservation after a failed write: what the store took in spite of it stays booked, also when it doesn't say. */
  const settle = async (reservation: Reservation, key: string, wasSent: boolean): Promise<void> => {
    const mayBeThere =
      wasSent &&
      (await store.stat(key).then(
        (stat) => stat !== undefined,
        () => true,
      ));
    if (mayBeThere) reservation.keep();
    else reservation.giveBack();
  };

  const writeBlob = async (call: Call, volume: VolumeState): Promise<void> => {
    const { request, response, place, claims } = call;
    const { target } = place;
    if (target.kind !== 'blob') return;
    const size = lengthOf(request, MAX_BYTES[target.type]);
    const reserved = await reserve(call, volume, size, claims.kind === 'maintain' || target.type === 'locks');
    const counted = counting(volume, claims, 'received');
    const key = objectKey(place);
    let writing: Writing | undefined;
    let seen = 0;
    try {
      // what makes data visible is checked against the store itself: another front may have raised the epoch
      if (target.type === 'snapshots' || target.type === 'index') await volume.refresh();
      writing = volume.beginWrite(claims.epoch);
      const { signal } = writing;
      const onBytes = (bytes: number): void => {
        seen += bytes;
        counted.add(bytes);
      };
      const body = verifiedBody({ size, sha256: target.name, onBytes });
      const limit = options.rateLimit?.stream();
      const flow = limit === undefined ? feed(request, body) : feed(request, limit, body);
      const put = store.put(key, body, { size, sha256: target.name, signal });
      // a store that refuses early takes no more of the body
      put.catch((error: unknown) => body.destroy(error as Error));
      const [flowed, stored] = await Promise.allSettled([flow, put]);
      // the first tells what was wrong with the body, the second what the store said
      if (signal.aborted) throw signal.reason;
      const broken = flowed.status === 'rejected' ? flowed.reason : undefined;
      if (broken instanceof FluviaError) throw broken;
      if (stored.status === 'rejected') throw stored.reason;
      reserved.keep();
    } finally {
      // does nothing after a success; a body that is cut short is never published
      await settle(reserved, key, seen >= size);
      counted.flush();
      writing?.end();
    }
    response.writeHead(200).end();
  };

  const writeConfig = async (call: Call, volume: VolumeState): Promise<void> => {
    const { request, response, place, claims } = call;
    const body = await readBody(request, MAX_CONFIG_BYTES);
    count(volume, claims, 'received', body.length);
    const reserved = await reserve(call, volume, body.length, false);
    let writing: Writing | undefined;
    try {
      writing = volume.beginWrite(claims.epoch);
      if (!(await store.putSmall(objectKey(place), body, { ifAbsent: true }))) {
        throw new FluviaError(ERROR_CODES.FORBIDDEN, 'the repository has a config already');
      }
      reserved.keep();
    } finally {
      reserved.giveBack();
      writing?.end();
    }
    response.writeHead(200).end();
  };

  const writeRecord = async (call: Call, volume: VolumeState): Promise<void> => {
    const { request, response, place, claims } = call;
    const { target, tenant } = place;
    if (target.kind !== 'commit') return;
    const body = await readBody(request, COMMIT_BYTES);
    const reserved = await reserve(call, volume, body.length, true);
    let writing: Writing | undefined;
    try {
      await volume.refresh();
      writing = volume.beginWrite(claims.epoch);
      const { epoch, sequence } = target;
      // a raise in the meantime waits for this: the record is older than the new epoch
      const commit = { tenant, volume: place.volume, epoch, sequence };
      if (await writeCommit(store, commit, body)) reserved.keep();
    } finally {
      reserved.giveBack();
      writing?.end();
    }
    response.writeHead(201).end();
  };

  const sendObject = async (
    { request, response, place, claims }: Call,
    volume: VolumeState,
  ): Promise<void> => {
    const key = objectKey(place);
    if (request.method === 'HEAD') {
      const stat = await store.stat(key);
      response.writeHead(stat === undefined ? 404 : 200, { 'content-length': stat?.size ?? 0 }).end();
      return;
    }
    const range = parseRange(request.headers.range);
    const { body, size } = await store.get(key, range);
    response.writeHead(range === undefined ? 200 : 206, {
      'content-type': 'application/octet-stream',
      'content-length': size,
      ...(range === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.start + size - 1}/*` }),
    });
    const counted = counting(volume, claims, 'sent');
    body.on('data', (chunk: Buffer) => counted.add(chunk.length));
    const limit = options.rateLimit?.stream();
    try {
      await (limit === undefined ? pipeline(body, response) : pipeline(body, limit, response));
    } finally {
      counted.flush();
    }
  };

  const sendList = async ({ request, response, place }: Call): Promise<void> => {
    const files: { name: string; size: number }[] = [];
    for await (const { key, size } of store.list(objectKey(place))) {
      files.push({ name: baseName(key), size });
    }
    if ((request.headers.accept ?? '').includes(V2)) json(response, files, V2);
    else {
      const names = files.map(({ name }) => name);
      json(response, names, V1);
    }
  };

  const read = async (call: Call, volume: VolumeState): Promise<void> => {
    const { response, place } = call;
    switch (place.target.kind) {
      case 'list':
        return sendList(call);
      case 'epoch':
        return json(response, { epoch: volume.epoch() });
      case 'usage':
        return json(response, {
          ...volume.usage,
          stored: volume.account.stored,
          epoch: volume.epoch(),
          token: byToken.get(call.claims.id) ?? { received: 0, sent: 0 },
        });
      case 'commits':
        return json(response, await listCommits(store, place.tenant, place.volume));
      case 'commit':
        return json(
          response,
          JSON.parse((await readSmall(store, objectKey(place), COMMIT_BYTES)).toString()),
        );
      default:
        return sendObject(call, volume);
    }
  };

  const remove = async ({ response, place, claims }: Call, volume: VolumeState): Promise<void> => {
    const writing = volume.beginWrite(claims.epoch);
    try {
      const key = objectKey(place);
      const stat = await store.stat(key);
      await store.delete(key);
      if (stat !== undefined) await ledger.remove(place.tenant, volume.account, stat.size);
    } finally {
      writing.end();
    }
    response.writeHead(200).end();
  };

  /** The first epoch of a volume makes an object: whoever names any number of volumes pays for them. */
  const raise = async ({ tenant, epoch }: TokenClaims, volume: VolumeState): Promise<void> => {
    if (volume.epoch() > 0) return volume.raise(epoch);
    const reserved = await ledger.reserve(tenant, volume.account, { size: 0, isTidying: false });
    try {
      await volume.raise(epoch);
      reserved.keep();
    } finally {
      reserved.giveBack();
    }
  };

  const act = async (call: Call, volume: VolumeState): Promise<void> => {
    const { response, place, action } = call;
    switch (action) {
      case 'read':
        return read(call, volume);
      case 'delete':
        return alone(objectKey(place), () => remove(call, volume));
      case 'write':
        return alone(objectKey(place), () => {
          if (place.target.kind === 'blob') return writeBlob(call, volume);
          return place.target.kind === 'config' ? writeConfig(call, volume) : writeRecord(call, volume);
        });
      case 'raise':
        return json(response, { epoch: volume.epoch() });
      case 'create':
      case 'revoke':
        response.writeHead(200).end();
    }
  };

  const answer = (response: ServerResponse, error: unknown): FluviaError => {
    const known =
      error instanceof FluviaError ? error : new FluviaError(ERROR_CODES.INTERNAL, messageOf(error));
    if (response.headersSent) response.destroy();
    else {
      const { code, message, hint } = known;
      const status = STATUS[code] ?? 500;
      response
        .writeHead(status, {
          'content-type': 'application/json',
          'x-fluvia-error': code,
          // what is left of such a body is not read; of others it is, since to reset the connection would hide the answer
          ...(code === ERROR_CODES.BAD_INPUT ? { connection: 'close' } : {}),
          ...(status === 401 ? { 'www-authenticate': 'Basic realm="fluvia-store"' } : {}),
        })
        .end(JSON.stringify({ code, message, hint }));
    }
    return known;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const now = clock.now();
    const token = parseAuthorization(request.headers.authorization);
    const claims = token === undefined ? undefined : verifyToken(options.tokenKey(), token, now);
    if (claims === undefined || (await revocations.isRevoked(claims))) {
      response
        .writeHead(401, { 'www-authenticate': 'Basic realm="fluvia-store"', connection: 'close' })
        .end('a valid token of this store is needed\n');
      return;
    }
    const place = parsePath(path);
    if (place === undefined) {
      answer(response, new FluviaError(ERROR_CODES.NOT_FOUND, 'nothing has this path'));
      return;
    }
    const method = request.method ?? '';
    let held: HeldVolume | undefined;
    let volume: VolumeState | undefined;
    try {
      const isOwn =
        claims.tenant === place.tenant && claims.volume === place.volume && claims.kind !== 'control';
      held = isOwn ? volumes.hold(place.tenant, place.volume) : undefined;
      volume = await held?.state;
      // our own leader signed it, on home's word: the first sight of a higher epoch is the end of the lower ones
      if (volume !== undefined && claims.epoch > volume.epoch()) await raise(claims, volume);
      const decision = decideAccess(method, place, claims, volume?.epoch() ?? 0);
      if (!decision.allowed) {
        throw new FluviaError(decision.code, decision.message, { kind: 'terminal' });
      }
      const call: Call = { request, response, place, claims, action: decision.action };
      if (decision.action === 'revoke') {
        if (place.target.kind === 'token') await revocations.revoke(place.tenant, place.target.id);
        // by the clock that issued them: what is given after this was asked for is good
        else await revocations.revokeAll(place.tenant, claims.issued);
        response.writeHead(200).end();
      } else if (volume !== undefined) await act(call, volume);
    } catch (error) {
      const { code, message, hint } = answer(response, error);
      // restic removes what it failed to write: that refusal must not hide the reason
      const isCleanUp = method === 'DELETE' && code === ERROR_CODES.FORBIDDEN;
      // nor must what it then stops sending
      const isReason = code !== ERROR_CODES.NOT_FOUND && !isCleanUp && !hasLeft(request);
      if (volume !== undefined && isReason) {
        volume.usage.lastError = { code, message, hint, at: clock.now().toISOString() };
      }
      if (code !== ERROR_CODES.NOT_FOUND) {
        log.warn('the store refused a request', { method, path, kind: claims.kind, code, message });
      }
    } finally {
      held?.release();
    }
  };

  return (request, response) => {
    response.on('error', () => undefined);
    response.once('close', () =>
      requests.inc({ method: request.method ?? '', status: String(response.statusCode) }),
    );
    handle(request, response).catch((err: unknown) => {
      answer(response, err);
      log.warn('a request to the store broke', { err });
    });
  };
};
