import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
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
const tokenOf = (kind: 'append' | 'maintain'): string =>
  signToken(KEY, {
    tenant: TENANT,
    volume: VOLUME,
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

const send = (method: string, path: string, size = 0, token = TOKEN): ReturnType<typeof request> =>
  request({
    port: (server.address() as AddressInfo).port,
    method,
    path: `${ROOT}${path}`,
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
    clock: systemClock,
    log: silentLogger,
    metrics: createMetrics(),
  });
  server = createServer(front).listen(0);
  await once(server, 'listening');
});

afterEach(() => {
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
    try {
      expect(await put('data', 'append')).toBe(403);
      expect(await lastError()).toBe(ERROR_CODES.QUOTA_EXCEEDED);
      expect(await put('locks', 'append')).toBe(200);
      expect(await put('locks', 'maintain')).toBe(200);
      expect(await put('index', 'maintain')).toBe(200);
      expect(await put('index', 'append')).toBe(403);
    } finally {
      quotaBytes = undefined;
    }
  });
});
