/** The few requests to a store's front that restic doesn't make: usage and commit records. */
import { request } from 'node:https';
import { z } from 'zod';
import { CommitRecord } from '../../api/commit-record.ts';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

export interface StoreClient {
  /** Bytes of bodies that the front has received for this volume so far. */
  received(): Promise<number>;
  writeCommit(record: CommitRecord): Promise<void>;
  commits(): Promise<readonly CommitRecord[]>;
  deleteCommit(epoch: number, sequence: number): Promise<void>;
}

const Usage = z.object({ received: z.number() });

/** `repository` ends in a slash. */
export const createStoreClient = (repository: string, token: string, ca: string): StoreClient => {
  const call = (method: string, path: string, body?: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const req = request(
        new URL(path, repository),
        {
          method,
          ca,
          headers: {
            authorization: `Bearer ${token}`,
            ...(text === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          },
          timeout: 60_000,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const answer = Buffer.concat(chunks).toString();
            const status = response.statusCode ?? 0;
            if (status >= 400)
              reject(
                new FluviaError(
                  status === 403 ? ERROR_CODES.FORBIDDEN : ERROR_CODES.UNREACHABLE,
                  `the store answered ${status} to ${method} ${path}: ${answer.slice(0, 300)}`,
                ),
              );
            else resolve(answer === '' ? undefined : JSON.parse(answer));
          });
        },
      );
      req.on('timeout', () => req.destroy(new Error('the store does not answer')));
      req.on('error', reject);
      req.end(text);
    });
  return {
    received: async () => Usage.parse(await call('GET', 'fluvia/usage')).received,
    writeCommit: async (record) => {
      await call('PUT', `fluvia/commits/${record.epoch}-${record.sequence}.json`, record);
    },
    commits: async () => z.array(CommitRecord).parse(await call('GET', 'fluvia/commits/')),
    deleteCommit: async (epoch, sequence) => {
      await call('DELETE', `fluvia/commits/${epoch}-${sequence}.json`);
    },
  };
};
