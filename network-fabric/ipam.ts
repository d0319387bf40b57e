/** Finding free blocks and addresses. Pure; what is taken comes from the objects that record it. */
import { cidrContains, cidrsOverlap, cidrSize, formatIp, type Cidr } from '../api/ip-range.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';

/**
 * firstFreeBlock is the lowest block of this length in the first of the pools that has one clear of everything
 * occupied; undefined when no pool has one.
 */
export const firstFreeBlock = (
  pools: readonly Cidr[],
  prefix: number,
  occupied: readonly Cidr[],
): Cidr | undefined => {
  const size = 2 ** (32 - prefix);
  for (const pool of pools) {
    if (pool.prefix > prefix) continue;
    const end = pool.base + cidrSize(pool);
    let base = pool.base;
    while (base + size <= end) {
      const candidate = { base, prefix };
      const obstacle = occupied.find((range) => cidrsOverlap(range, candidate));
      if (obstacle === undefined) return candidate;
      // Past the obstacle, at the next multiple of the block's size.
      base = Math.max(base + size, Math.ceil((obstacle.base + cidrSize(obstacle)) / size) * size);
    }
  }
  return undefined;
};

/**
 * allocateAddresses gives each name an address of the range that no other has: those that have a valid one keep it, the
 * rest take the lowest free, in the order of their names. The first and the last address are never given.
 * @throws {FluviaError} POOL_EXHAUSTED when the range has too few.
 */
export const allocateAddresses = (
  range: Cidr,
  names: readonly string[],
  existing: ReadonlyMap<string, number>,
): Map<string, number> => {
  const last = range.base + cidrSize(range) - 1;
  const isUsable = (ip: number): boolean => ip > range.base && ip < last;
  const result = new Map<string, number>();
  const taken = new Set<number>();
  const sorted = [...new Set(names)].sort();
  for (const name of sorted) {
    const ip = existing.get(name);
    if (ip !== undefined && isUsable(ip) && !taken.has(ip)) {
      result.set(name, ip);
      taken.add(ip);
    }
  }
  let next = range.base + 1;
  for (const name of sorted.filter((item) => !result.has(item))) {
    while (taken.has(next)) next += 1;
    if (!isUsable(next)) {
      throw new FluviaError(
        ERROR_CODES.POOL_EXHAUSTED,
        `external CIDR ${formatIp(range.base)}/${range.prefix} has no address left for node ${name}`,
        { kind: 'stalled', hint: 'set a larger NetworkConfig.spec.externalCIDR' },
      );
    }
    result.set(name, next);
    taken.add(next);
  }
  return result;
};

/** Ranges that no cluster may announce: this-network, loopback, link-local, multicast, and what is reserved above it. */
const SPECIAL: readonly (readonly [Cidr, string])[] = [
  [{ base: 0, prefix: 8 }, '"this network"'],
  [{ base: 0x7f000000, prefix: 8 }, 'loopback'],
  [{ base: 0xa9fe0000, prefix: 16 }, 'link-local'],
  [{ base: 0xe0000000, prefix: 4 }, 'multicast'],
  [{ base: 0xf0000000, prefix: 4 }, 'reserved'],
];

/** Shortest prefix that a cluster may announce: more would leave no room for others. */
export const SHORTEST_PREFIX = 8;

/** whyNotAnnounceable says why the range can't be announced, or undefined when it can. */
export const whyNotAnnounceable = (cidr: Cidr): string | undefined => {
  if (cidr.prefix < SHORTEST_PREFIX) return `is larger than a /${SHORTEST_PREFIX}`;
  const special = SPECIAL.find(([range]) => cidrContains(range, cidr) || cidrContains(cidr, range));
  return special === undefined ? undefined : `overlaps the ${special[1]} range`;
};

/** Private and shared address space (RFC 1918, RFC 6598, RFC 2544): a view elsewhere would take the place of real hosts. */
const PRIVATE: readonly Cidr[] = [
  { base: 0x0a000000, prefix: 8 },
  { base: 0xac100000, prefix: 12 },
  { base: 0xc0a80000, prefix: 16 },
  { base: 0x64400000, prefix: 10 },
  { base: 0xc6120000, prefix: 15 },
];

/** isPrivate says whether the range holds no public address. */
export const isPrivate = (cidr: Cidr): boolean => PRIVATE.some((range) => cidrContains(range, cidr));
