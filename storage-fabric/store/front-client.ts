/** A client of a front beside restic: epochs, commit records, counts, small files. Used by leaders and movers. */
import { request as send, type Agent } from 'node:https';
import { isIP } from 'node:net';
import { z } from 'zod';
import { CommitRecord } from '../../api/commit-record.ts';
import { ERROR_CODES, FluviaError, type ErrorCode } from '../../api/errors.ts';

/** Where a front is and as whom to speak to it. */
export interface FrontAccess {
  /** As seen from here. */
  readonly address: string;
  readonly port: number;
  readonly caCertificate: string;
  /** Name in the front's certificate, whatever address it is reached by. */
  readonly serverName: string;
  /** A secret. */
  readonly token: string;
  /** How long the front may be silent; 15 s when missing. */
  readonly timeoutMs?: number;
  /** Keeps connections for the next call; each has one of its own when missing. */
  readonly agent?: Agent;
}

const Refusal = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });

const FrontUsage = z.object({
  received: z.number(),
  sent: z.number(),
  stored: z.number(),
  epoch: z.number().int(),
  /** Of the calling token alone. */
  token: z.object({ received: z.number(), sent: z.number() }),
  lastError: Refusal.extend({ at: z.string() }).optional(),
});
/** What the front counted for a volume since it started, its epoch, and why it last refused something. */
export type FrontUsage = z.infer<typeof FrontUsage>;

/** `path` is the repository's, e.g. `/<tenant>/<volume>/`. All throw FluviaError with the front's code. */
export interface FrontClient {
  /** Makes the volume's epoch at least the token's; returns it. */
  raise(path: string): Promise<number>;
  usage(path: string): Promise<FrontUsage>;
  commits(path: string): Promise<readonly CommitRecord[]>;
  /** Writes a record once; the same record again is no error. CONFLICT when another is there. */
  commit(path: string, record: CommitRecord): Promise<void>;
  /** With a `maintain` token. */
  deleteCommit(path: string, epoch: number, sequence: number): Promise<void>;
  /** With a control token: ends another token before its time. */
  revoke(tenant: string, id: string): Promise<void>;
  /** With a control token: ends all tokens that the tenant was given before the control token. */
  revokeAll(tenant: string): Promise<void>;
  /** Reads a small file of the repository, e.g. `config`; undefined when it isn't there. */
  readFile(path: string, name: string): Promise<Buffer | undefined>;
  /** Writes one. A config is written once: FORBIDDEN when there is one. */
  writeFile(path: string, name: string, body: Buffer): Promise<void>;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER = 16 * 2 ** 20;
const refusalOf = (status: number, text: string, where: string): FluviaError => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  const refusal = Refusal.safeParse(parsed).data;
  const known = Object.values(ERROR_CODES).find((code) => code === refusal?.code);
  const code: ErrorCode = known ?? (status === 401 ? ERROR_CODES.FORBIDDEN : ERROR_CODES.INTERNAL);
  const hint =
    refusal?.hint ?? (status === 401 ? 'ask anew for a token: it ended or was revoked' : undefined);
  const said = `the store at ${where} said ${status}: ${refusal?.message ?? text.slice(0, 200)}`;
  return new FluviaError(code, said, hint === undefined ? {} : { hint });
};

/** Makes a client; it connects at its first call. */
export const createFrontClient = (access: FrontAccess): FrontClient => {
  const { timeoutMs = TIMEOUT_MS } = access;
  const where = `${access.address}:${access.port}`;
  const callFor = (method: string, path: string, body?: string | Buffer): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const fail = (error: Error): void =>
        reject(
          error instanceof FluviaError
            ? error
            : new FluviaError(
                ERROR_CODES.UNREACHABLE,
                `the store at ${where} does not answer: ${error.message}`,
                {
                  cause: error,
                },
              ),
        );
      const sent = send(
        {
          host: access.address,
          port: access.port,
          // none for an address
          ...(isIP(access.serverName) === 0 ? { servername: access.serverName } : {}),
          ca: access.caCertificate,
          method,
          path,
          agent: access.agent ?? false,
          timeout: timeoutMs,
          headers: {
            authorization: `Bearer ${access.token}`,
            ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on('error', fail);
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size > MAX_ANSWER) response.destroy(new Error('the answer is too large'));
            else chunks.push(chunk);
          });
          response.on('end', () => {
            const answer = Buffer.concat(chunks);
            const status = response.statusCode ?? 0;
            if (status >= 300) fail(refusalOf(status, answer.toString(), where));
            else resolve(answer);
          });
        },
      );
      sent.on('timeout', () => sent.destroy(new Error(`silent for ${timeoutMs / 1000} s`)));
      sent.on('error', fail);
      sent.end(body);
    });
  const call = async (method: string, path: string, body?: string): Promise<unknown> => {
    const text = (await callFor(method, path, body)).toString();
    try {
      return text === '' ? undefined : JSON.parse(text);
    } catch (error) {
      throw new FluviaError(ERROR_CODES.UNREACHABLE, `the store at ${where} gave no JSON`, { cause: error });
    }
  };
  return {
    raise: async (path) =>
      z.object({ epoch: z.number().int() }).parse(await call('PUT', `${path}fluvia/epoch`)).epoch,
    usage: async (path) => FrontUsage.parse(await call('GET', `${path}fluvia/usage`)),
    commits: async (path) => z.array(CommitRecord).parse(await call('GET', `${path}fluvia/commits/`)),
    commit: async (path, record) => {
      const name = `${record.epoch}-${record.sequence}.json`;
      await call('PUT', `${path}fluvia/commits/${name}`, JSON.stringify(record));
    },
    deleteCommit: async (path, epoch, sequence) => {
      await call('DELETE', `${path}fluvia/commits/${epoch}-${sequence}.json`);
    },
    revoke: async (tenant, id) => {
      await call('DELETE', `/${tenant}/-/fluvia/tokens/${id}`);
    },
    revokeAll: async (tenant) => {
      await call('DELETE', `/${tenant}/-/fluvia/tokens/`);
    },
    readFile: async (path, name) => {
      try {
        return await callFor('GET', `${path}${name}`);
      } catch (error) {
        if (error instanceof FluviaError && error.code === ERROR_CODES.NOT_FOUND) return undefined;
        throw error;
      }
    },
    writeFile: async (path, name, body) => {
      await callFor('POST', `${path}${name}`, body);
    },
  };
};
