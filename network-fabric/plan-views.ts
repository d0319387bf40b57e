/** Under which ranges a cluster sees a peer's; the View objects are the record, so the answer is stable. */
import { cidrsOverlap, cidrSize, formatCidr, parseCidr, type Cidr } from '../api/ip-range.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { ViewRange } from '../api/v1alpha1/view.ts';
import { firstFreeBlock, isPrivate, whyNotAnnounceable } from './ipam.ts';
import { withoutNested } from './ranges.ts';

/** What a cluster says of itself. */
export interface AnnouncedRanges {
  readonly podCIDRs: readonly string[];
  readonly externalCIDR: string;
}

export interface ViewRequest {
  readonly announced: AnnouncedRanges;
  /** `spec.theirs` of the peer's View, as it stands. */
  readonly existing: readonly ViewRange[];
  /** What views must keep clear of: this cluster's own ranges and reserved ones, other peers' views, node addresses. */
  readonly occupied: readonly string[];
  /** What new views keep clear of too, but those that stand don't give way to: peers' endpoints. */
  readonly avoided?: readonly string[];
  readonly pools: readonly string[];
  /** Most addresses that this peer's views may take together; {@link mostAddresses} of the pools when missing. */
  readonly maxAddresses?: number | undefined;
}

type Wanted = Pick<ViewRange, 'purpose' | 'real'>;

const wantedRanges = (announced: AnnouncedRanges): Wanted[] => [
  ...announced.podCIDRs.map((real): Wanted => ({ purpose: 'Pod', real })),
  { purpose: 'External', real: announced.externalCIDR },
];

const refuse = (message: string): never => {
  throw new FluviaError(ERROR_CODES.CIDR_OVERLAP, message, {
    kind: 'stalled',
    hint: "ask the peer's administrator to correct the ranges in its NetworkConfig",
  });
};

/**
 * checkAnnounced refuses what no honest cluster announces.
 * @throws {FluviaError} BAD_INPUT for what isn't a CIDR, CIDR_OVERLAP for special, too large or overlapping ranges.
 */
export const checkAnnounced = (announced: AnnouncedRanges): void => {
  const ranges = wantedRanges(announced).map(({ real }) => parseCidr(real));
  ranges.forEach((range, index) => {
    const why = whyNotAnnounceable(range);
    if (why !== undefined) refuse(`the peer announces ${formatCidr(range)}, which ${why}`);
    const other = ranges.slice(0, index).find((item) => cidrsOverlap(item, range));
    if (other !== undefined) {
      refuse(`the peer announces ${formatCidr(range)} and ${formatCidr(other)}, which overlap`);
    }
  });
};

/** What one peer may take of the pools, unless its Peer says another number: a quarter, so that three more find as much. */
const PEER_SHARE = 4;
/** Four /16, also of small pools: who made them so small wants them used. */
const LEAST_ADDRESSES = 2 ** 18;
/**
 * Views that may lie in the pools at a place that the peer chose, by being the real range: more, however small, would leave no
 * large block for others.
 */
const CHOSEN_PLACES = 2;

/** Most addresses of one peer's views together, where its Peer doesn't say. */
export const mostAddresses = (pools: readonly string[]): number => {
  const size = withoutNested(pools.map(parseCidr)).reduce((sum, pool) => sum + cidrSize(pool), 0);
  return Math.max(LEAST_ADDRESSES, Math.floor(size / PEER_SHARE));
};

const checkSize = (ranges: readonly Wanted[], { pools, maxAddresses }: ViewRequest): void => {
  const size = ranges.reduce((sum, { real }) => sum + cidrSize(parseCidr(real)), 0);
  const most = maxAddresses ?? mostAddresses(pools);
  if (size <= most) return;
  const limit =
    maxAddresses === undefined
      ? `${most} that one peer may take of the view pools ${pools.join(', ')}`
      : `${most} of its spec.maxViewAddresses`;
  throw new FluviaError(
    ERROR_CODES.QUOTA_EXCEEDED,
    `the peer announces ranges of ${size} addresses together, more than the ${limit}`,
    {
      kind: 'stalled',
      hint: `ask its administrator to announce smaller ranges, or set spec.maxViewAddresses of the Peer to ${size}`,
    },
  );
};

const exhausted = (wanted: Wanted, pools: readonly string[]): FluviaError =>
  new FluviaError(
    ERROR_CODES.POOL_EXHAUSTED,
    `no block of the length of ${wanted.real} is free in the view pools ${pools.join(', ')}`,
    { kind: 'stalled', hint: 'add a range to NetworkConfig.spec.viewPools' },
  );

/**
 * planViews gives `spec.theirs`: what has a view that is still clear keeps it; else the view is the real range itself
 * where that is private and overlaps nothing, else the first free block of equal length.
 * @throws {FluviaError} of {@link checkAnnounced}, QUOTA_EXCEEDED for more than one peer may take, or POOL_EXHAUSTED.
 */
export const planViews = (request: ViewRequest): ViewRange[] => {
  checkAnnounced(request.announced);
  const occupied = request.occupied.map(parseCidr);
  const avoided = (request.avoided ?? []).map(parseCidr);
  const isClear = (range: Cidr, others: readonly Cidr[]): boolean =>
    ![...occupied, ...others].some((other) => cidrsOverlap(other, range));
  const wanted = wantedRanges(request.announced);
  checkSize(wanted, request);
  const pools = request.pools.map(parseCidr);
  const isChosenPlace = (range: Cidr): boolean => pools.some((pool) => cidrsOverlap(pool, range));
  let chosenPlaces = 0;
  const kept = new Map<string, ViewRange>();
  const taken: Cidr[] = [];
  for (const { purpose, real } of wanted) {
    const old = request.existing.find((range) => range.purpose === purpose && range.real === real);
    if (old === undefined) continue;
    const view = parseCidr(old.view);
    const isPublic = old.view === real && !isPrivate(view);
    if (view.prefix !== parseCidr(real).prefix || !isClear(view, taken) || isPublic) continue;
    kept.set(real, { purpose, real, view: old.view });
    taken.push(view);
    if (old.view === real && isChosenPlace(view)) chosenPlaces += 1;
  }
  return wanted.map((range) => {
    const old = kept.get(range.real);
    if (old !== undefined) return old;
    const real = parseCidr(range.real);
    const obstacles = [...taken, ...avoided];
    // Never a public range as it is: a peer that announces 8.8.8.0/24 would get what this cluster sends to its DNS.
    const isItself =
      isPrivate(real) && isClear(real, obstacles) && (chosenPlaces < CHOSEN_PLACES || !isChosenPlace(real));
    const view = isItself ? real : firstFreeBlock(pools, real.prefix, [...occupied, ...obstacles]);
    if (view === undefined) throw exhausted(range, request.pools);
    if (isItself && isChosenPlace(real)) chosenPlaces += 1;
    taken.push(view);
    return { ...range, view: formatCidr(view) };
  });
};

const tryParse = (cidr: string): Cidr | undefined => {
  try {
    return parseCidr(cidr);
  } catch {
    return undefined;
  }
};

/**
 * checkOurs keeps what a peer says about its views of this cluster's ranges, as far as it is sound: for ranges that this
 * cluster announces, of equal length, one each, disjoint, not special. The rest is dropped: then those ranges aren't
 * reachable, and nothing else is harmed.
 */
export const checkOurs = (told: readonly ViewRange[], announced: AnnouncedRanges): ViewRange[] => {
  const sound: ViewRange[] = [];
  for (const { purpose, real } of wantedRanges(announced)) {
    const range = told.find((item) => item.purpose === purpose && item.real === real);
    if (range === undefined) continue;
    const view = tryParse(range.view);
    const isSound =
      view !== undefined &&
      view.prefix === parseCidr(real).prefix &&
      whyNotAnnounceable(view) === undefined &&
      !sound.some((other) => cidrsOverlap(parseCidr(other.view), view));
    if (isSound) sound.push({ purpose, real, view: range.view });
  }
  return sound;
};
