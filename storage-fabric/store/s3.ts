/** {@link ObjectStore} over the `minio` client. */
import * as http from 'node:http';
import * as https from 'node:https';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { Client } from 'minio';
import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import type {
  ByteRange,
  ObjectStat,
  ObjectStore,
  ObjectStoreAccess,
  WriteCondition,
} from './object-store.ts';
import { explainS3Error, type S3Failure } from './plan-s3-error.ts';

/** Statuses that the client would turn into a message of its own, hiding the server's code. */
const HIDDEN = new Set([408, 429, 499, 500, 502, 503, 504, 520]);
const SHOWN_AS = 599;
const IDLE_MS = 30_000;

type Answer = (response: http.IncomingMessage) => void;

/** Node's own transport, except that the client gets to see every answer as it is. */
const transportOf = (secure: boolean, agent: http.Agent): Pick<typeof http, 'request'> => {
  const send = secure ? https.request : http.request;
  const request = (options: https.RequestOptions, answer: Answer): http.ClientRequest => {
    const sent = send({ ...options, agent }, (response) => {
      const status = response.statusCode ?? 0;
      if (HIDDEN.has(status)) {
        response.statusCode = SHOWN_AS;
      }
      answer(response);
    });
    sent.setTimeout(IDLE_MS, () =>
      sent.destroy(Object.assign(new Error(`no answer for ${IDLE_MS / 1000} s`), { code: 'ETIMEDOUT' })),
    );
    return sent;
  };
  return { request } as Pick<typeof http, 'request'>;
};

const failureOf = (error: unknown): S3Failure => {
  const { code } = error as { readonly code?: unknown };
  return { code: typeof code === 'string' ? code : '', message: messageOf(error), status: 0 };
};

const parseEndpoint = (endpoint: string): URL => {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.pathname !== '/') {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `"${endpoint}" is not an endpoint of an object store`, {
      kind: 'terminal',
      hint: 'write http(s)://host:port without a path',
    });
  }
  return url;
};

/** Connects to an S3; makes no request yet. Throws BAD_INPUT for an endpoint that is none. */
export const createS3Store = (access: ObjectStoreAccess): ObjectStore => {
  const url = parseEndpoint(access.endpoint);
  const secure = url.protocol === 'https:';
  const agent = new (secure ? https : http).Agent({ keepAlive: true, maxSockets: 64 });
  const { bucket, region } = access;
  const client = new Client({
    endPoint: url.hostname,
    ...(url.port === '' ? {} : { port: Number(url.port) }),
    useSSL: secure,
    accessKey: access.accessKey,
    secretKey: access.secretKey,
    region,
    pathStyle: true,
    transport: transportOf(secure, agent),
    retryOptions: { disableRetry: true },
  });
  // over TLS, too: the signed hash is what keeps a body that is cut short from being published
  client.enableSHA256 = true;

  const calling = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      throw error instanceof FluviaError ? error : explainS3Error(failureOf(error), what, bucket);
    }
  };
  const send = async (
    what: string,
    method: string,
    key: string,
    headers: Record<string, string>,
    body: Buffer | Readable,
    sha256: string,
    expected: number[],
  ): Promise<http.IncomingMessage> =>
    calling(what, async () => {
      const options = { method, bucketName: bucket, objectName: key, headers };
      return client.makeRequestStreamAsync(options, body, sha256, expected, region);
    });
  const nothing = Buffer.alloc(0);
  const hashOf = (body: Buffer): string => createHash('sha256').update(body).digest('hex');
  const statOf = (response: http.IncomingMessage): ObjectStat => ({
    size: Number(response.headers['content-length'] ?? 0),
    etag: response.headers.etag ?? '',
  });
  const check = async (): Promise<void> => {
    await calling(`list bucket ${bucket}`, () => client.listObjectsV2Query(bucket, '', '', '/', 1, ''));
  };
  const isMissing = (error: unknown): boolean =>
    error instanceof FluviaError && error.code === ERROR_CODES.NOT_FOUND;

  return {
    get: async (key, range?: ByteRange) => {
      const headers: Record<string, string> =
        range === undefined ? {} : { range: `bytes=${range.start}-${range.end ?? ''}` };
      const response = await send(`read ${key}`, 'GET', key, headers, nothing, hashOf(nothing), [200, 206]);
      return { body: response, ...statOf(response) };
    },
    stat: async (key) => {
      try {
        const response = await send(`look at ${key}`, 'HEAD', key, {}, nothing, hashOf(nothing), [200]);
        response.resume();
        return statOf(response);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    put: async (key, body, { size, sha256, signal }) => {
      const stop = (): void => {
        body.destroy(new FluviaError(ERROR_CODES.TIMEOUT, `writing ${key} was stopped`));
      };
      signal?.addEventListener('abort', stop, { once: true });
      try {
        if (signal?.aborted === true) stop();
        const headers = { 'content-length': String(size), 'content-type': 'application/octet-stream' };
        (await send(`write ${key}`, 'PUT', key, headers, body, sha256, [200])).resume();
      } catch (error) {
        // a server that refuses a body before it has read it may reset the connection over its answer: ask without a body
        if (error instanceof FluviaError && error.code === ERROR_CODES.UNREACHABLE) await check();
        throw error;
      } finally {
        signal?.removeEventListener('abort', stop);
      }
    },
    putSmall: async (key, body, condition?: WriteCondition) => {
      const headers: Record<string, string> = {
        'content-length': String(body.length),
        'content-type': 'application/json',
        ...(condition === undefined
          ? {}
          : 'ifAbsent' in condition
            ? { 'if-none-match': '*' }
            : { 'if-match': condition.ifMatch }),
      };
      try {
        const options = { method: 'PUT', bucketName: bucket, objectName: key, headers };
        (await client.makeRequestStreamAsync(options, body, hashOf(body), [200], region)).resume();
        return true;
      } catch (error) {
        const failure = failureOf(error);
        // 409: another writer of the same object was at it; whoever lost looks again
        if (failure.code === 'PreconditionFailed' || failure.code === 'ConditionalRequestConflict')
          return false;
        // If-Match on what is gone
        if (failure.code === 'NoSuchKey' && condition !== undefined && 'ifMatch' in condition) return false;
        throw explainS3Error(failure, `write ${key}`, bucket);
      }
    },
    delete: async (key) => {
      try {
        (await send(`delete ${key}`, 'DELETE', key, {}, nothing, hashOf(nothing), [200, 204])).resume();
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    },
    list: async function* (prefix) {
      const items = client.listObjectsV2(bucket, prefix, true) as AsyncIterable<{
        readonly name?: string;
        readonly size: number;
      }>;
      try {
        for await (const { name, size } of items) {
          if (name !== undefined && !name.endsWith('/')) yield { key: name, size };
        }
      } catch (error) {
        throw explainS3Error(failureOf(error), `list ${prefix}`, bucket);
      }
    },
    check,
    ensureBucket: async () => {
      await calling(`make bucket ${bucket}`, async () => {
        if (!(await client.bucketExists(bucket))) await client.makeBucket(bucket, region);
      });
    },
  };
};
