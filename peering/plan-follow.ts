/**
 * What a publisher has to send to one follower. Pure: hashes in, one event out. The follower's state is `sent`: what it
 * said it has and what it was sent since, so a link resumes after any break by the same rule by which it runs.
 */

/** Next thing to do about one id: nothing, send the item, or take it away. */
export type FollowStep = 'nothing' | 'set' | 'delete';

/**
 * Compares one id at both ends. Deletions wait until the publisher knows everything that it publishes (`complete`), so that
 * one that has just started takes nothing away.
 */
export const planFollowStep = (
  published: string | undefined,
  sent: string | undefined,
  complete: boolean,
): FollowStep => {
  if (published === sent) return 'nothing';
  if (published !== undefined) return 'set';
  return complete ? 'delete' : 'nothing';
};

/** Every id that may differ between both ends; first those to take away, since a follower may be full. */
export const planFollowStart = (
  published: ReadonlyMap<string, unknown>,
  sent: ReadonlyMap<string, string>,
): Set<string> => {
  const gone = [...sent.keys()].filter((id) => !published.has(id));
  return new Set([...gone, ...published.keys()]);
};
