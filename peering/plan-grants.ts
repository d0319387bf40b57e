import { CLAIMS } from '../api/collections.ts';
import { formatQuantity, formatResources, parseResources, type ResourceList } from '../api/quantity.ts';
import type { GrantTerms } from '../api/v1alpha1/claim.ts';
import type { Grant } from '../api/v1alpha1/grant.ts';
import { ceilingOf, judgeClaim, roundDown, termsOf, type GrantRules, type NodeRoom } from './plan-grant.ts';

/**
 * What the claims of one peer get together. A peer invents claims as it likes, so a policy's limit is one for all of them.
 * Pure.
 */

export interface GrantsWorld {
  readonly peer: string;
  /** Claims heard: name → what is asked. */
  readonly claims: ReadonlyMap<string, ResourceList | undefined>;
  /** Whether these are all. */
  readonly isComplete: boolean;
  /** Of all peers. */
  readonly grants: readonly Grant[];
  /** Real nodes that are ready. */
  readonly nodes: readonly NodeRoom[];
  readonly rules: GrantRules;
}

export interface GrantPlan {
  readonly resources: ResourceList;
  readonly terms: GrantTerms;
  /** A sentence for the peer. */
  readonly message: string;
}

export interface Refusal {
  readonly reason: 'InvalidClaim' | 'TooManyClaims' | 'Insufficient';
  readonly message: string;
}

export interface GrantsPlan {
  /** Most that all the peer's pods may count. */
  readonly peerMaximum: ResourceList;
  readonly give: ReadonlyMap<string, GrantPlan>;
  readonly refuse: ReadonlyMap<string, Refusal>;
  /** Grants whose pods outlive the claim: what these hold. */
  readonly hold: ReadonlyMap<Grant, ResourceList>;
  readonly remove: readonly Grant[];
}

/** Most Grants of one peer, also where it withdraws claims and never says that it told all. */
const MOST_GRANTS = CLAIMS.maxItems;

/** Without these no pod runs. */
const ESSENTIAL = ['cpu', 'memory', 'pods'] as const;

type Numbers = Readonly<Record<string, number>>;

interface Candidate {
  readonly claim: string;
  readonly asked: Numbers | undefined;
  readonly used: Numbers;
  readonly grant: Grant | undefined;
}

/** What holds part of the peer's maximum whatever the candidates get. */
interface Holder {
  readonly claim: string;
  readonly held: Numbers;
  readonly isGone: boolean;
}

/** Names come from a peer: `constructor` must not find what every object inherits. */
const at = (numbers: Numbers | undefined, name: string): number | undefined =>
  numbers !== undefined && Object.hasOwn(numbers, name) ? numbers[name] : undefined;

const usedOf = (grant: Grant | undefined): Numbers => parseResources(grant?.status?.used);
const isUsed = (grant: Grant): boolean => Object.values(usedOf(grant)).some((amount) => amount > 0);
const larger = (a: Numbers, b: Numbers): Numbers =>
  Object.fromEntries(
    [...new Set([...Object.keys(a), ...Object.keys(b)])].map((name) => [
      name,
      Math.max(at(a, name) ?? 0, at(b, name) ?? 0),
    ]),
  );

/** Sorts the older first, then by name; those without a Grant come last. */
const older = (a: Candidate, b: Candidate): number => {
  const rank = ({ claim, grant }: Candidate): string =>
    grant === undefined ? `1 ${claim}` : `0 ${grant.metadata.creationTimestamp ?? ''} ${claim}`;
  return rank(a) < rank(b) ? -1 : 1;
};

/**
 * Divides the ceiling: for each resource first to the claims that name an amount, then to those that leave it to the provider,
 * in each the older first. What another claim's pods use is not given again, also where that claim asks for less by now.
 */
const divide = (
  candidates: readonly Candidate[],
  holders: readonly Holder[],
  ceiling: Numbers,
): ReadonlyMap<Candidate, Record<string, number>> => {
  const given = new Map<Candidate, Record<string, number>>(candidates.map((candidate) => [candidate, {}]));
  for (const [name, most] of Object.entries(ceiling)) {
    const fixed = holders.reduce((sum, { held }) => sum + (at(held, name) ?? 0), 0);
    const order = [
      ...candidates.filter(({ asked }) => at(asked, name) !== undefined),
      ...candidates.filter(({ asked }) => at(asked, name) === undefined),
    ];
    for (const candidate of order) {
      const others = candidates
        .filter((other) => other !== candidate)
        .reduce((sum, other) => sum + Math.max(given.get(other)?.[name] ?? 0, at(other.used, name) ?? 0), 0);
      const left = Math.max(0, most - fixed - others);
      const amount = roundDown(name, Math.min(at(candidate.asked, name) ?? left, left));
      given.set(candidate, { ...given.get(candidate), [name]: amount });
    }
  }
  return given;
};

/** Resources of which a claim gets less than it would if it were the peer's only one. */
const shortOf = ({ asked }: Candidate, given: Numbers, ceiling: Numbers): readonly string[] =>
  Object.entries(ceiling)
    .filter(
      ([name, most]) => roundDown(name, Math.min(at(asked, name) ?? most, most)) > (at(given, name) ?? 0),
    )
    .map(([name]) => name);

const listed = (names: readonly string[]): string =>
  names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ');

const amounts = (names: readonly string[], values: Numbers): string =>
  names
    .slice(0, 5)
    .map((name) => `${name} ${formatQuantity(name, at(values, name) ?? 0)}`)
    .join(', ');

const describeShort = (
  short: readonly string[],
  given: Numbers,
  ceiling: Numbers,
  others: readonly Holder[],
): string => {
  const holding = others.filter(({ held }) => short.some((name) => (at(held, name) ?? 0) > 0));
  const names = (isGone: boolean): string[] =>
    holding
      .filter((holder) => holder.isGone === isGone)
      .map(({ claim }) => claim)
      .sort();
  const [claims, gone] = [names(false), names(true)];
  return [
    `All claims of this peer get ${amounts(short, ceiling)} together; left for this one: ${amounts(short, given)}.`,
    ...(claims.length === 0 ? [] : [`Let the others ask for less: ${listed(claims)}.`]),
    ...(gone.length === 0 ? [] : [`Pods that came by withdrawn claims must go first: ${listed(gone)}.`]),
  ]
    .join(' ')
    .slice(0, 1000);
};

const sorted = (values: Numbers): ResourceList =>
  Object.fromEntries(Object.entries(formatResources(values)).sort(([a], [b]) => (a < b ? -1 : 1)));

interface Sorting {
  readonly candidates: readonly Candidate[];
  readonly holders: readonly Holder[];
  readonly refuse: Map<string, Refusal>;
  readonly gone: readonly Grant[];
}

/** Tells claims that can be given from what is fixed. */
const sortOut = (world: GrantsWorld): Sorting => {
  const { peer, claims, isComplete, grants } = world;
  const mine = grants.filter(({ spec }) => spec.peer === peer);
  const byClaim = new Map(mine.map((grant) => [grant.spec.claim, grant]));
  const refuse = new Map<string, Refusal>();
  const candidates: Candidate[] = [];
  for (const [claim, resources] of claims) {
    const wrong = judgeClaim(peer, claim, resources, grants);
    const grant = byClaim.get(claim);
    if (wrong !== undefined) refuse.set(claim, { reason: 'InvalidClaim', message: wrong });
    else {
      const asked = resources === undefined ? undefined : parseResources(resources);
      candidates.push({ claim, asked, used: usedOf(grant), grant });
    }
  }
  candidates.sort(older);
  const asking = new Set(candidates.map(({ claim }) => claim));
  const gone = isComplete ? mine.filter(({ spec }) => !claims.has(spec.claim)) : [];
  const holders = mine
    .filter(({ spec }) => !asking.has(spec.claim))
    .map((grant): Holder => {
      const isGone = gone.includes(grant) || grant.spec.withdrawn === true;
      // What wasn't heard yet, or is nonsense now, keeps what it had.
      const held = isGone ? usedOf(grant) : larger(parseResources(grant.spec.resources), usedOf(grant));
      return { claim: grant.spec.claim, held, isGone };
    });
  let places = MOST_GRANTS - mine.filter((grant) => !gone.includes(grant) || isUsed(grant)).length;
  const placed = candidates.filter(({ claim, grant }) => {
    if (grant !== undefined || (places -= 1) >= 0) return true;
    refuse.set(claim, {
      reason: 'TooManyClaims',
      message: `This peer has ${MOST_GRANTS} grants already, with those whose pods have not gone: withdraw claims, and their pods.`,
    });
    return false;
  });
  return { candidates: placed, holders, refuse, gone };
};

interface Settled {
  readonly give: readonly {
    readonly candidate: Candidate;
    readonly amount: Numbers;
    readonly message: string;
  }[];
  /** Those that get nothing to run a pod with, and why. */
  readonly starve: ReadonlyMap<Candidate, string>;
}

/** Divides until nobody is left without what every pod needs: who would be, the youngest first, gives back the rest. */
const settle = (candidates: readonly Candidate[], holders: readonly Holder[], ceiling: Numbers): Settled => {
  const starve = new Map<Candidate, string>();
  for (;;) {
    const fixed = [
      ...holders,
      ...[...starve.keys()].map(({ claim, used }): Holder => ({ claim, held: used, isGone: false })),
    ];
    const given = [
      ...divide(
        candidates.filter((one) => !starve.has(one)),
        fixed,
        ceiling,
      ),
    ];
    const give = given.map(([candidate, amount]) => {
      const short = shortOf(candidate, amount, ceiling);
      const others = given
        .filter(([other]) => other !== candidate)
        .map(([{ claim, used }, its]): Holder => ({ claim, held: larger(its, used), isGone: false }));
      const message =
        short.length === 0
          ? 'The provider gives this.'
          : describeShort(short, amount, ceiling, [...fixed, ...others]);
      return {
        candidate,
        amount,
        message,
        isStarved: ESSENTIAL.some((n) => short.includes(n) && amount[n] === 0),
      };
    });
    const starved = give.findLast(({ isStarved }) => isStarved);
    if (starved === undefined) return { give, starve };
    starve.set(starved.candidate, starved.message);
  }
};

/**
 * What each claim is given: of each resource the least of what is asked and what is left of the peer's maximum. A grant that
 * shrinks below what is used evicts nothing; it only admits nothing more. While no node is ready (a reboot), what was given
 * before stays.
 */
export const planGrants = (world: GrantsWorld): GrantsPlan => {
  const { nodes, rules, grants, peer } = world;
  const { candidates, holders, refuse, gone } = sortOut(world);
  const isDark = nodes.length === 0;
  const ceiling = ceilingOf(nodes, rules);
  const terms = termsOf(nodes, rules);
  const { give, starve } = settle(candidates, holders, ceiling);
  for (const [{ claim }, message] of starve) refuse.set(claim, { reason: 'Insufficient', message });
  const starved = [...starve.keys()].map(({ grant }) => grant).filter((grant) => grant !== undefined);
  const ending = [...gone, ...starved];
  const before = grants.find(({ spec }) => spec.peer === peer && spec.peerMaximum !== undefined);
  return {
    peerMaximum: isDark ? (before?.spec.peerMaximum ?? {}) : sorted(ceiling),
    give: new Map(
      give.map(({ candidate: { claim, grant }, amount, message }) => [
        claim,
        isDark && grant !== undefined
          ? { resources: grant.spec.resources, terms: grant.spec.terms ?? terms, message }
          : { resources: sorted(amount), terms, message },
      ]),
    ),
    refuse,
    hold: new Map(ending.filter(isUsed).map((grant) => [grant, grant.status?.used ?? {}])),
    remove: ending.filter((grant) => !isUsed(grant)),
  };
};
