import { createHash } from 'node:crypto';

/** The volume ID of home's claim with this UID. */
export const volumeIdOf = (claimUID: string): string =>
  `v${createHash('sha256').update(claimUID).digest('hex').slice(0, 16)}`;
