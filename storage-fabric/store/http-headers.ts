/** Request headers that the front reads. Pure. */
import type { ByteRange } from './object-store.ts';

/** The token of an `Authorization` header: a bearer token, or the password of basic authentication. */
export const parseAuthorization = (header: string | undefined): string | undefined => {
  if (header === undefined || header.length > 2048) return undefined;
  const [scheme, value] = header.split(' ');
  if (value === undefined) return undefined;
  if (scheme?.toLowerCase() === 'bearer') return value;
  if (scheme?.toLowerCase() !== 'basic') return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon === -1 ? undefined : pair.slice(colon + 1);
};

/** The one range of a `Range` header; undefined for none, for several, and for what is none. */
export const parseRange = (header: string | undefined): ByteRange | undefined => {
  const [, start, end] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (start === undefined) return undefined;
  if (end === undefined || end === '') return { start: Number(start) };
  return Number(end) < Number(start) ? undefined : { start: Number(start), end: Number(end) };
};
