import type { z } from 'zod';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Collection } from '../api/link.ts';
import { printable } from './grpc-errors.ts';
import { LIMITS } from './protocol.ts';

/** Judges what a peer sent before anything else of Fluvia sees it. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;

/** Deepest nesting of a JSON text, which may be malformed; stops counting beyond `limit`. */
const depthOf = (json: Uint8Array, limit: number): number => {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let i = 0; i < json.length && deepest <= limit; i += 1) {
    const byte = json[i];
    if (inText) {
      if (byte === BACKSLASH) i += 1;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, (depth += 1));
    else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return deepest;
};

/** What an entry takes beside its texts, and what each value of its JSON takes when parsed: measured on pods, rounded up. */
const ENTRY_BYTES = 300;
const VALUE_BYTES = 24;

/** Estimate of the memory that an item takes. Its JSON alone says little: `{}` is two bytes, and 56 when parsed. */
export const weightOf = (id: string, json: Uint8Array): number => {
  let values = 0;
  let inText = false;
  for (let i = 0; i < json.length; i += 1) {
    const byte = json[i];
    if (inText) {
      if (byte === BACKSLASH) i += 1;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === COMMA || byte === 0x7b || byte === 0x5b) values += 1;
  }
  return ENTRY_BYTES + id.length + json.length + values * VALUE_BYTES;
};

/** Keys that could reach a prototype when objects are merged later; `\u` covers every way to write them. */
const SUSPICIOUS = /__proto__|\\u/i;
const withoutPrototypes = (key: string, value: unknown): unknown => (key === '__proto__' ? undefined : value);

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Parses JSON of a peer: valid UTF-8, not nested deeper than 64, without `__proto__` keys.
 * @throws {FluviaError} PROTOCOL
 */
export const parsePeerJson = (json: Uint8Array): unknown => {
  if (depthOf(json, LIMITS.jsonDepth) > LIMITS.jsonDepth) {
    throw new FluviaError(ERROR_CODES.PROTOCOL, `JSON nested deeper than ${LIMITS.jsonDepth}`);
  }
  try {
    const text = utf8.decode(json);
    return JSON.parse(text, SUSPICIOUS.test(text) ? withoutPrototypes : undefined) as unknown;
  } catch (error) {
    throw new FluviaError(ERROR_CODES.PROTOCOL, 'not JSON in UTF-8', { cause: error });
  }
};

/**
 * One item of a collection as the peer sent it.
 * @throws {FluviaError} PROTOCOL that names the field that is wrong; never anything else.
 */
export const parseItem = <S extends z.ZodType>(
  collection: Collection<S>,
  id: string,
  json: Uint8Array,
): z.infer<S> => {
  const where = `${collection.name} ${printable(id, 200)}`;
  const refuse = (why: string, cause?: unknown): FluviaError =>
    new FluviaError(ERROR_CODES.PROTOCOL, `the peer sent an invalid item, ${where}: ${why}`, {
      kind: 'waiting',
      hint: 'update the older of both clusters; if they are equal, report it',
      cause,
    });
  if (id.length === 0 || id.length > LIMITS.idLength) throw refuse('its id is empty or too long');
  if (json.length > collection.maxItemBytes) {
    throw refuse(`${json.length} bytes, more than ${collection.maxItemBytes}`);
  }
  try {
    const parsed = collection.schema.safeParse(parsePeerJson(json));
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw refuse(
      printable(`${issue?.path.map(String).join('.') || 'it'}: ${issue?.message ?? 'invalid'}`, 300),
    );
  } catch (error) {
    if (error instanceof FluviaError && error.message.includes(where)) throw error;
    throw refuse(error instanceof FluviaError ? error.message : 'it could not be checked', error);
  }
};
