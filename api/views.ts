import { cidrContainsIp, formatIp, parseCidr, parseIp, translateIp } from './ip-range.ts';
import type { ViewRange } from './v1alpha1/view.ts';

/** The address under which a real address is seen through these ranges; undefined when none covers it. */
export const seenAs = (ranges: readonly ViewRange[], realAddress: string): string | undefined =>
  translate(ranges, realAddress, 'real', 'view');

/** The real address behind a seen one; undefined when none of the ranges covers it. */
export const realOf = (ranges: readonly ViewRange[], seenAddress: string): string | undefined =>
  translate(ranges, seenAddress, 'view', 'real');

const translate = (
  ranges: readonly ViewRange[],
  address: string,
  from: 'real' | 'view',
  to: 'real' | 'view',
): string | undefined => {
  const ip = parseIp(address);
  for (const range of ranges) {
    const source = parseCidr(range[from]);
    if (cidrContainsIp(source, ip)) {
      return formatIp(translateIp(ip, source, parseCidr(range[to])));
    }
  }
  return undefined;
};
