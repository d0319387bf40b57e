/** Small algebra of address ranges that the planners share. */
import { cidrContains, formatCidr, formatIp, parseCidr, type Cidr } from '../api/ip-range.ts';

/** A range as nftables and iproute2 write it: a single address without `/32`. */
export const formatRange = (cidr: Cidr): string =>
  cidr.prefix === 32 ? formatIp(cidr.base) : formatCidr(cidr);

/** The text of a CIDR in {@link formatRange}'s form. */
export const rangeText = (cidr: string): string => formatRange(parseCidr(cidr));

/** The ranges in order, without those that lie in others: CIDRs nest or are disjoint, so what remains is disjoint. */
export const withoutNested = (cidrs: readonly Cidr[]): Cidr[] => {
  const kept: Cidr[] = [];
  for (const cidr of [...cidrs].sort((a, b) => a.base - b.base || a.prefix - b.prefix)) {
    const last = kept.at(-1);
    if (last === undefined || !cidrContains(last, cidr)) kept.push(cidr);
  }
  return kept;
};

/** {@link withoutNested} on text. */
export const disjointRanges = (cidrs: readonly string[]): string[] =>
  withoutNested(cidrs.map(parseCidr)).map(formatRange);
