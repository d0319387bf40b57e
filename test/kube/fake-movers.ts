/** Plays stores and movers of peers that are in memory: tokens, orders and ends. */
import { expect } from 'vitest';
import type { ItemOf } from '../../api/link.ts';
import { TOKEN_REQUESTS, TOKENS, TRANSFER_STATUS, TRANSFERS } from '../../api/storage-collections.ts';
import type { FakePeer } from './fake-links.ts';
import { until } from './storage-stage.ts';

/** An order to a mover. */
export type Transfer = ItemOf<typeof TRANSFERS>;

/**
 * Gives every token that is asked for, until the mover that is meant is ordered at `runner`: a copy may be asked for before it.
 * Returns the order's key and what it says.
 */
export const grantMover = async (
  volume: string,
  target: FakePeer,
  runner: FakePeer,
  action: string,
  isMeant: (order: Transfer) => boolean = () => true,
): Promise<[string, Transfer]> => {
  let found: [string, Transfer] | undefined;
  await until(
    `${action} is ordered`,
    () => {
      for (const [key] of target.sent(TOKEN_REQUESTS).items) {
        if (!key.includes(`-${action}-`)) continue;
        const path = `/${'h'.repeat(26)}/${volume}/`;
        if (!target.tell(TOKENS).items.has(key))
          target.tell(TOKENS).set(key, { attempt: 0, token: 'secret', path });
        const order = runner.sent(TRANSFERS).items.get(key);
        if (order !== undefined && isMeant(order)) found = [key, order];
      }
      return found !== undefined;
    },
    30_000,
  );
  if (found === undefined) throw new Error(`no ${action}`);
  return found;
};

/** The mover's end, and the Job's going once home takes it back. */
export const finishMover = async (
  target: FakePeer,
  runner: FakePeer,
  key: string,
  status: ItemOf<typeof TRANSFER_STATUS>,
): Promise<void> => {
  runner.tell(TRANSFER_STATUS).set(key, status);
  await until('the mover is taken back', () => !runner.sent(TRANSFERS).items.has(key));
  expect(target.sent(TOKEN_REQUESTS).items.has(key)).toBe(false);
  runner.tell(TRANSFER_STATUS).delete(key);
  target.tell(TOKENS).delete(key);
};
