/** JSON merge patches (RFC 7396) of string maps. */

/** The patch that makes `wanted` of `existing`: null removes a key; undefined when they are equal. */
export const mapPatch = (
  existing: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): Readonly<Record<string, string | null>> | undefined => {
  const changes = new Map<string, string | null>();
  for (const key of Object.keys(existing)) if (!Object.hasOwn(wanted, key)) changes.set(key, null);
  for (const [key, value] of Object.entries(wanted)) {
    if (!Object.hasOwn(existing, key) || existing[key] !== value) changes.set(key, value);
  }
  return changes.size === 0 ? undefined : Object.fromEntries(changes);
};
