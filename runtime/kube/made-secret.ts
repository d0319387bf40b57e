/** Secrets whose content Fluvia makes itself: keys and certificates that several replicas want at once. */
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isConflict } from './errors.ts';
import { SECRET } from './resources.ts';
import type { Secret } from './types.ts';

/** A field of a Secret as bytes; empty when it has none. */
export const secretField = (secret: Secret | undefined, field: string): Buffer =>
  Buffer.from(secret?.data?.[field] ?? '', 'base64');

/** How what a Secret holds is read and made. */
export interface MadeSecret<T> {
  readonly name: string;
  readonly namespace: string;
  /** What it holds; undefined when it is missing, incomplete, or due to be made anew. */
  read(found: Secret | undefined): T | undefined;
  /** New content, which may keep some of the old. */
  make(found: Secret | undefined): Promise<Readonly<Record<string, string | Buffer>>>;
}

/** What the Secret holds, made or made anew first where needed. One replica's write wins; the others take what they find. */
export const ensureMadeSecret = async <T>(client: KubeClient, secret: MadeSecret<T>): Promise<T> => {
  const { name, namespace } = secret;
  for (;;) {
    const found = await client.get<Secret>(SECRET, name, namespace);
    const usable = secret.read(found);
    if (usable !== undefined) return usable;
    const data = Object.fromEntries(
      Object.entries(await secret.make(found)).map(([field, value]) => [
        field,
        Buffer.from(value).toString('base64'),
      ]),
    );
    try {
      if (found === undefined) {
        await client.create(SECRET, { metadata: { name, namespace }, type: 'Opaque', data });
      } else {
        const { resourceVersion } = found.metadata;
        const patch = { metadata: { resourceVersion }, data };
        await client.patch(SECRET, name, namespace, patch, { type: 'merge' });
      }
    } catch (error) {
      // Another was faster: take what it made in the next round.
      if (!isAlreadyExists(error) && !isConflict(error)) throw error;
    }
  }
};
