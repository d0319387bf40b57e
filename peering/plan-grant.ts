import { DnsSubdomain } from '../api/cluster-id.ts';
import { messageOf } from '../api/errors.ts';
import { policyOfPeer } from '../api/policy-of-peer.ts';
import { parseResources, type ResourceList } from '../api/quantity.ts';
import type { GrantTerms, PricePerHour } from '../api/v1alpha1/claim.ts';
import type { Grant, GrantPolicy } from '../api/v1alpha1/grant.ts';

/** What a policy and the real nodes let a peer have, and which claims are well formed. Pure. */

/** What a real node of the provider offers. */
export interface NodeRoom {
  readonly allocatable: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly kubeletVersion: string | undefined;
}

/** The rules of a GrantPolicy, defaults filled in. */
export interface GrantRules {
  readonly sharePercent: number;
  readonly maximum: ResourceList | undefined;
  readonly zone: string | undefined;
  readonly region: string | undefined;
  readonly pricePerHour?: PricePerHour | undefined;
}

/** Name of the Grant that answers a peer's claim. */
export const grantName = (peer: string, claim: string): string => `${peer}-${claim}`;

/** What is wrong with a claim as such, since a peer chooses names and amounts freely; undefined when nothing is. */
export const judgeClaim = (
  peer: string,
  claim: string,
  asked: ResourceList | undefined,
  grants: readonly Grant[],
): string | undefined => {
  const name = grantName(peer, claim);
  if (!DnsSubdomain.safeParse(claim).success || !DnsSubdomain.safeParse(name).success) {
    return 'the claim’s name is not a DNS name';
  }
  // Peer a's claim b-c and peer a-b's claim c would share a Grant.
  const there = grants.find((grant) => grant.metadata.name === name)?.spec;
  if (there !== undefined && (there.peer !== peer || there.claim !== claim)) {
    return 'another claim has this name here: name the claim differently';
  }
  try {
    parseResources(asked);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
};

/** The rules of the policy that holds for a peer, or the built-in ones. */
export const rulesFor = (policies: readonly GrantPolicy[], peer: string): GrantRules => {
  const policy = policyOfPeer(policies, peer);
  return {
    sharePercent: policy?.spec.sharePercent ?? 80,
    maximum: policy?.spec.maximum,
    zone: policy?.spec.zone,
    region: policy?.spec.region,
    pricePerHour: policy?.spec.pricePerHour,
  };
};

/** Grants are multiples of these, so that small changes of what is allocatable change nothing. */
const STEP: Readonly<Record<string, number>> = {
  cpu: 0.01,
  memory: 1024 * 1024,
  'ephemeral-storage': 1024 * 1024,
};

/** The largest amount that a grant can name, up to `value`. */
export const roundDown = (resource: string, value: number): number => {
  const step = STEP[resource] ?? 1;
  // 0.29 / 0.01 is a little less than 29: a tiny tolerance keeps whole steps whole.
  return Math.floor(value / step + 1e-6) * step;
};

const isGrantable = (resource: string): boolean =>
  ['cpu', 'memory', 'pods', 'ephemeral-storage'].includes(resource) ||
  (resource.includes('/') && !resource.startsWith('kubernetes.io/') && !resource.includes('.kubernetes.io/'));

const share = (nodes: readonly NodeRoom[], percent: number): Record<string, number> => {
  const total: Record<string, number> = {};
  for (const node of nodes) {
    for (const [name, value] of Object.entries(parseResources(node.allocatable))) {
      if (isGrantable(name)) total[name] = (total[name] ?? 0) + value;
    }
  }
  return Object.fromEntries(
    Object.entries(total).map(([name, value]) => [name, roundDown(name, (value * percent) / 100)]),
  );
};

/** The value that all have; undefined when they differ or there are none. */
const common = (values: readonly (string | undefined)[]): string | undefined =>
  values.every((value) => value === values[0]) ? values[0] : undefined;

const distinct = (values: readonly (string | undefined)[], most: number): string[] =>
  [...new Set(values.filter((value) => value !== undefined))].sort().slice(0, most);

/** What holds for pods on these nodes. */
export const termsOf = (nodes: readonly NodeRoom[], rules: GrantRules): GrantTerms => {
  const label = (name: string): (string | undefined)[] => nodes.map((node) => node.labels[name]);
  const zone = rules.zone ?? common(label('topology.kubernetes.io/zone'));
  const region = rules.region ?? common(label('topology.kubernetes.io/region'));
  const version = distinct(
    nodes.map((node) => node.kubeletVersion),
    100,
  )[0];
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(region === undefined ? {} : { region }),
    architectures: distinct(label('kubernetes.io/arch'), 8),
    operatingSystems: distinct(label('kubernetes.io/os'), 4),
    ...(version === undefined ? {} : { kubeletVersion: version }),
    ...(rules.pricePerHour === undefined ? {} : { pricePerHour: rules.pricePerHour }),
  };
};

/** Most that a peer gets of each resource: what the policy's maximum says, else its share of what the real nodes have. */
export const ceilingOf = (nodes: readonly NodeRoom[], rules: GrantRules): Record<string, number> => {
  const ceiling = share(nodes, rules.sharePercent);
  for (const [name, maximum] of Object.entries(parseResources(rules.maximum))) {
    // A maximum is a limit, and also opens a resource beyond the share, up to what there is.
    const all = share(nodes, 100)[name] ?? 0;
    ceiling[name] = roundDown(name, Math.min(maximum, all));
  }
  return ceiling;
};
