import { ERROR_CODES, FluviaError } from './errors.ts';

/**
 * Addresses and ranges without their schemas, so that an agent needn't load zod; everyone else imports `cidr.ts`.
 */

/** An IPv4 range in canonical form: network address (unsigned 32 bits) and prefix length. */
export interface Cidr {
  readonly base: number;
  readonly prefix: number;
}

/** One octet of an address, as a regular expression. */
export const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);

const mask = (prefix: number): number => (prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);

/** The address as an unsigned 32-bit number. Throws BAD_INPUT when it isn't an IPv4 address. */
export const parseIp = (text: string): number => {
  if (!IPV4.test(text)) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `"${text.slice(0, 64)}" is not an IPv4 address`, {
      kind: 'terminal',
    });
  }
  return text.split('.').reduce((value, octet) => value * 256 + Number(octet), 0);
};

/** Dotted form of an unsigned 32-bit number. */
export const formatIp = (value: number): string =>
  [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');

/** The CIDR in canonical form. Throws BAD_INPUT for a malformed one or one with host bits set. */
export const parseCidr = (text: string): Cidr => {
  const [address = '', length = '', ...rest] = text.split('/');
  const prefix = rest.length === 0 && /^\d{1,2}$/.test(length) ? Number(length) : Number.NaN;
  if (!(prefix >= 0 && prefix <= 32)) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `"${text.slice(0, 64)}" is not an IPv4 CIDR`, {
      kind: 'terminal',
    });
  }
  const ip = parseIp(address);
  const base = (ip & mask(prefix)) >>> 0;
  if (base !== ip) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `CIDR ${text} has host bits set`, {
      kind: 'terminal',
      hint: `did you mean ${formatIp(base)}/${prefix}?`,
    });
  }
  return { base, prefix };
};

/** Text of a CIDR, e.g. `10.61.0.0/16`. */
export const formatCidr = (cidr: Cidr): string => `${formatIp(cidr.base)}/${cidr.prefix}`;

/** Number of addresses in it (up to 2^32). */
export const cidrSize = (cidr: Cidr): number => 2 ** (32 - cidr.prefix);

/** Whether the address lies in it. */
export const cidrContainsIp = (cidr: Cidr, ip: number): boolean =>
  (ip & mask(cidr.prefix)) >>> 0 === cidr.base;

/** Whether `inner` lies wholly in `outer`. */
export const cidrContains = (outer: Cidr, inner: Cidr): boolean =>
  inner.prefix >= outer.prefix && cidrContainsIp(outer, inner.base);

/** Whether they share an address. */
export const cidrsOverlap = (a: Cidr, b: Cidr): boolean => cidrContains(a, b) || cidrContains(b, a);

/** `ip`, which lies in `from`, at the same offset of `to` (of equal length). */
export const translateIp = (ip: number, from: Cidr, to: Cidr): number => (to.base + (ip - from.base)) >>> 0;
