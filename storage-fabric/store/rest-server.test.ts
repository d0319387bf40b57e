import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { createFakeObjectStore } from './object-store.fake.ts';
import type { ObjectStore } from './object-store.ts';
import { createFront } from './rest-server.ts';
import { signToken } from './tokens.ts';

const TENANT = 'abcdefghijklmnopqrstuvwxyz';
const VOLUME = 'v0123456789abcdef';
const ROOT = `/${TENANT}/${VOLUME}/`;
const KEY = randomBytes(32);
const tokenOf = (kind: 'append' | 'maintain', volume = VOLUME): string =>
  signToken(KEY, {
    tenant: TENANT,
    volume,
    kind,
    epoch: 1,
    expires: Math.floor(Date.now() / 1000) + 600,
    issued: Date.now(),
    id: (kind === 'append' ? 'a' : 'b').repeat(32),
  });
const TOKEN = tokenOf('append');
/** More than all the buffers between two sockets hold. */
const BODY = randomBytes(24 * 2 ** 20);
const NAME = createHash('sha256').update(BODY).digest('hex');

let server: Server;
let agent: Agent;
let store: ObjectStore;
let quotaBytes: number | undefined;
let tenantQuotaBytes: number | undefined;

const send = (
  method: string,
  path: string,
  size = 0,
  token = TOKEN,
  root = ROOT,
): ReturnType<typeof request> =>
  request({
    port: (server.address() as AddressInfo).port,
    method,
    path: `${root}${path}`,
    agent,
    headers: { authorization: `Bearer ${token}`, ...(size === 0 ? {} : { 'content-length': size }) },
  });

const answerOf = async (sent: ReturnType<typeof request>): Promise<{ status: number; body: string }> => {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() };
};

const lastError = async (): Promise<string | undefined> => {
  const { body } = await answerOf(send('GET', 'fluvia/usage').end());
  return (JSON.parse(body) as { lastError?: { code: string } }).lastError?.code;
};

beforeEach(async () => {
  store = createFakeObjectStore();
  agent = new Agent({ keepAlive: true });
  const front = createFront({
    store: new Proxy({} as ObjectStore, { get: (_, name: keyof ObjectStore) => store[name] }),
    tokenKey: () => KEY,
    get quotaBytes() {
      return quotaBytes ?? Infinity;
    },
    get tenantQuotaBytes() {
      return tenantQuotaBytes ?? Infinity;
    },
    clock: systemClock,
    log: silentLogger,
    metrics: createMetrics(),
  });
  server = createServer(front).listen(0);
  await once(server, 'listening');
});

afterEach(() => {
  quotaBytes = undefined;
  tenantQuotaBytes = undefined;
  agent.destroy();
  server.closeAllConnections();
  server.close();
});

const full = (): Promise<never> =>
  Promise.reject(new FluviaError(ERROR_CODES.STORE_FULL, 'the disk is full', { hint: 'make room' }));

describe('the front', () => {
  it('says why the store refused, also when the store did so before it took the body', async () => {
    store = { ...store, put: full };
    const sent = send('POST', `data/${NAME}`, BODY.length);
    sent.end(BODY);
    const { status, body } = await answerOf(sent);
    expect([status, JSON.parse(body)]).toEqual([
      403,
      { code: ERROR_CODES.STORE_FULL, message: 'the disk is full', hint: 'make room' },
    ]);
    expect(await lastError()).toBe(ERROR_CODES.STORE_FULL);
  });

  it("keeps the last refusal over clients that went away: a mover's restic then drops what else it sends", async () => {
    const dropped = send('POST', `data/${NAME}`, BODY.length);
    dropped.on('error', () => undefined);
    dropped.write(BODY.subarray(0, 2 ** 20));
    const whole = store;
    store = { ...store, put: full };
    const refused = send('POST', `data/${NAME}`, BODY.length);
    refused.end(BODY);
    expect((await answerOf(refused)).status).toBe(403);
    store = whole;
    dropped.destroy();
    await systemClock.sleep(100);
    expect(await lastError()).toBe(ERROR_CODES.STORE_FULL);
  });
});

describe('a volume that has reached its quota', () => {
  it('takes no more data, and lets itself be pruned all the same', async () => {
    quotaBytes = 100;
    const body = randomBytes(200);
    const put = async (type: string, kind: 'append' | 'maintain'): Promise<number> => {
      const name = createHash('sha256').update(body).digest('hex');
      const sent = send('POST', `${type}/${name}`, body.length, tokenOf(kind));
      return (await answerOf(sent.end(body))).status;
    };
    expect(await put('data', 'append')).toBe(403);
    expect(await lastError()).toBe(ERROR_CODES.QUOTA_EXCEEDED);
    expect(await put('locks', 'append')).toBe(200);
    expect(await put('locks', 'maintain')).toBe(200);
    expect(await put('index', 'maintain')).toBe(200);
    expect(await put('index', 'append')).toBe(403);
  });
});

const post = async (
  type: string,
  body: Buffer,
  volume = VOLUME,
): Promise<{ status: number; body: string; path: string }> => {
  const path = `${type}/${createHash('sha256').update(body).digest('hex')}`;
  const root = `/${TENANT}/${volume}/`;
  const sent = send('POST', path, body.length, tokenOf('append', volume), root);
  return { ...(await answerOf(sent.end(body))), path };
};
const stored = async (): Promise<number> =>
  (JSON.parse((await answerOf(send('GET', 'fluvia/usage').end())).body) as { stored: number }).stored;
const times = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));
const slowly = (name: 'put' | 'stat'): void => {
  const real = store[name] as (...args: unknown[]) => Promise<unknown>;
  const late = async (...args: unknown[]): Promise<unknown> => {
    const result = await real(...args);
    await systemClock.sleep(30);
    return result;
  };
  store = { ...store, [name]: late };
};

describe('a peer that wants more than it may have', () => {
  it('gets no more by sending many at once: the bytes are set aside before they are taken', async () => {
    quotaBytes = 10_000;
    slowly('put');
    const answers = await times(20, () => post('data', randomBytes(1000)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
    expect(answers.find(({ status }) => status === 403)?.body).toContain('FLUVIA_STORE_QUOTA_BYTES');
    expect(await stored()).toBe(10_000);
  });

  it('gets no more by naming many volumes, also empty ones', async () => {
    // each object costs 4096 bytes more, a volume's epoch too
    tenantQuotaBytes = 10 * (4096 + 1000) + 10 * (4096 + 12);
    const volume = (index: number): string => `v${index.toString(16).padStart(16, '0')}`;
    const answers = await times(20, (index) => post('data', randomBytes(1000), volume(index)));
    const taken = answers.filter(({ status }) => status === 200).length;
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThanOrEqual(10);
    const refused = answers.find(({ status }) => status === 403)?.body;
    expect(refused).toContain('all volumes of the cluster together would take');
    expect(refused).toContain('FLUVIA_STORE_TENANT_QUOTA_BYTES');
    const more = await times(100, (index) => post('data', Buffer.alloc(0), volume(100 + index)));
    expect(more.every(({ status }) => status === 403)).toBe(true);
  });

  it('has what it stored before the front started counted', async () => {
    tenantQuotaBytes = 100_000;
    const old = randomBytes(90_000);
    await store.put(`${TENANT}/v${'f'.repeat(16)}/data/x`, Readable.from([old]), {
      size: old.length,
      sha256: createHash('sha256').update(old).digest('hex'),
    });
    expect((await post('data', randomBytes(1000))).status).toBe(403);
  });

  it('is given back the bytes of one object once, however often it deletes it', async () => {
    slowly('stat');
    await post('data', randomBytes(9000));
    const { path } = await post('locks', randomBytes(500));
    await times(20, () => answerOf(send('DELETE', path).end()));
    expect(await stored()).toBe(9000);
  });

  it('pays for commit records, once each', async () => {
    const snapshot = await post('snapshots', randomBytes(50));
    const record = {
      volume: VOLUME,
      epoch: 1,
      sequence: 1,
      snapshotID: snapshot.path.split('/')[1],
      treeHash: 'a'.repeat(64),
      consistency: 'Stopped',
      cutAt: new Date().toISOString(),
      bytesScanned: 1,
      bytesSent: 1,
    };
    const text = Buffer.from(JSON.stringify(record));
    const before = await stored();
    const put = () => answerOf(send('PUT', 'fluvia/commits/1-1.json', text.length).end(text));
    expect(await put()).toMatchObject({ status: 201 });
    expect(await stored()).toBe(before + text.length);
    expect((await put()).status).toBe(201);
    expect(await stored()).toBe(before + text.length);
  });

  it('has booked what the store took, also when the store failed to say so', async () => {
    const whole = store;
    const failing: ObjectStore['put'] = async (...args) => {
      await whole.put(...args);
      throw new FluviaError(ERROR_CODES.UNREACHABLE, 'the answer got lost');
    };
    store = { ...store, put: failing };
    expect((await post('data', randomBytes(700))).status).toBe(503);
    store = { ...whole, put: full };
    expect((await post('data', randomBytes(800))).status).toBe(403);
    expect(await stored()).toBe(700);
  });

  it('can not make locks or keys of any size', async () => {
    expect((await post('locks', randomBytes(70_000))).status).toBe(400);
    expect((await post('keys', randomBytes(70_000))).status).toBe(400);
  });
});
