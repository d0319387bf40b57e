import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cidrContains,
  cidrContainsIp,
  cidrSize,
  cidrsOverlap,
  CidrString,
  formatCidr,
  formatIp,
  parseCidr,
  parseIp,
  translateIp,
  type Cidr,
} from './cidr.ts';

const ip = fc.integer({ min: 0, max: 0xffffffff });
const cidrOf = (address: number, prefix: number): Cidr => ({
  base: prefix === 0 ? 0 : (address & (0xffffffff << (32 - prefix))) >>> 0,
  prefix,
});
const cidr = fc.tuple(ip, fc.integer({ min: 0, max: 32 })).map(([a, p]) => cidrOf(a, p));

describe('addresses', () => {
  it('survive formatting and parsing', () => {
    fc.assert(
      fc.property(ip, (value) => {
        expect(parseIp(formatIp(value))).toBe(value);
      }),
    );
  });

  it.each(['', '1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4.5', 'a.b.c.d', '1.2.3.4 '])(
    'refuses "%s"',
    (text) => {
      expect(() => parseIp(text)).toThrow(/not an IPv4 address/);
    },
  );
});

describe('CIDRs', () => {
  it('survive formatting and parsing, and pass the schema of the API', () => {
    fc.assert(
      fc.property(cidr, (c) => {
        const text = formatCidr(c);
        expect(parseCidr(text)).toEqual(c);
        expect(CidrString.safeParse(text).success).toBe(true);
      }),
    );
  });

  it.each(['10.0.0.0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0.0.0/'])('refuses "%s"', (text) => {
    expect(() => parseCidr(text)).toThrow(/not an IPv4 CIDR/);
  });

  it('names the range that was meant when host bits are set', () => {
    expect(() => parseCidr('10.1.2.3/16')).toThrow(
      expect.objectContaining({ hint: 'did you mean 10.1.0.0/16?' }),
    );
  });

  it('overlap exactly when one contains an end of the other', () => {
    const last = (c: Cidr): number => c.base + cidrSize(c) - 1;
    fc.assert(
      fc.property(cidr, cidr, (a, b) => {
        expect(cidrsOverlap(a, b)).toBe(a.base <= last(b) && b.base <= last(a));
        expect(cidrContains(a, b)).toBe(a.base <= b.base && last(b) <= last(a));
      }),
    );
  });

  it('translate one to one, there and back', () => {
    fc.assert(
      fc.property(ip, ip, ip, fc.integer({ min: 0, max: 32 }), (a, b, offset, prefix) => {
        const [from, to] = [cidrOf(a, prefix), cidrOf(b, prefix)];
        const address = from.base + (offset % cidrSize(from));
        const there = translateIp(address, from, to);
        expect(cidrContainsIp(to, there)).toBe(true);
        expect(translateIp(there, to, from)).toBe(address);
      }),
    );
  });
});
