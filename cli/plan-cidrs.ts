import { cidrContains, cidrsOverlap, formatCidr, parseCidr, parseIp, type Cidr } from '../api/cidr.ts';
import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';

/** Everything in a cluster that tells its ranges, as far as it is there. */
export interface CidrEvidence {
  /** `networking.podSubnet` and `serviceSubnet` of the ConfigMap kubeadm-config. */
  readonly kubeadm?: { readonly pods?: string; readonly services?: string };
  /** Arguments of the controller-manager's pods. */
  readonly controllerManagerArgs: readonly string[];
  /** `clusterCIDR` of the ConfigMap kube-proxy. */
  readonly kubeProxy?: string;
  readonly nodePodCIDRs: readonly string[];
  /** Addresses of pods that are not in the host's network. */
  readonly podIPs: readonly string[];
  /** `spec.cidrs` of the ServiceCIDR objects. */
  readonly serviceCIDRs: readonly string[];
}

/** What was found, and by what. */
export interface Detected {
  readonly cidrs: readonly string[];
  readonly source: string;
  /** Set when it is a guess that a person should look at. */
  readonly isGuess: boolean;
}

const listOf = (text: string | undefined): readonly string[] =>
  (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

const isIpv4 = (cidr: string): boolean => !cidr.includes(':');

const flag = (args: readonly string[], name: string): string | undefined =>
  args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);

/** The smallest range that holds all; /16 at the smallest, since nodes that come later get their share of it, too. */
export const commonRange = (ranges: readonly Cidr[]): Cidr | undefined => {
  const [first] = ranges;
  if (first === undefined) {
    return undefined;
  }
  let prefix = Math.min(16, ...ranges.map((range) => range.prefix));
  const at = (length: number): Cidr => ({
    base: length === 0 ? 0 : (first.base & (0xffffffff << (32 - length))) >>> 0,
    prefix: length,
  });
  while (prefix > 0 && !ranges.every((range) => cidrContains(at(prefix), range))) {
    prefix -= 1;
  }
  return at(prefix);
};

/** The cluster's pod ranges; undefined when nothing tells them. */
export const detectPodCIDRs = (evidence: CidrEvidence): Detected | undefined => {
  const stated: readonly (readonly [string, readonly string[]])[] = [
    ['kubeadm-config', listOf(evidence.kubeadm?.pods)],
    ['kube-controller-manager', listOf(flag(evidence.controllerManagerArgs, 'cluster-cidr'))],
    ['kube-proxy', listOf(evidence.kubeProxy)],
  ];
  for (const [source, cidrs] of stated) {
    const ipv4 = cidrs.filter(isIpv4);
    if (ipv4.length > 0) {
      return { cidrs: ipv4, source, isGuess: false };
    }
  }
  const ofNodes = commonRange(evidence.nodePodCIDRs.filter(isIpv4).map(parseCidr));
  if (ofNodes !== undefined) {
    return { cidrs: [formatCidr(ofNodes)], source: "nodes' podCIDRs", isGuess: false };
  }
  const addresses = evidence.podIPs.filter(isIpv4).map((ip) => ({ base: parseIp(ip), prefix: 32 }));
  const ofPods = commonRange(addresses);
  if (ofPods !== undefined && ofPods.prefix >= 8) {
    return { cidrs: [formatCidr(ofPods)], source: `addresses of ${addresses.length} pods`, isGuess: true };
  }
  return undefined;
};

/** The cluster's Service ranges; undefined when nothing tells them. */
export const detectServiceCIDRs = (evidence: CidrEvidence): Detected | undefined => {
  const stated: readonly (readonly [string, readonly string[]])[] = [
    ['ServiceCIDR', evidence.serviceCIDRs],
    ['kubeadm-config', listOf(evidence.kubeadm?.services)],
    ['kube-controller-manager', listOf(flag(evidence.controllerManagerArgs, 'service-cluster-ip-range'))],
  ];
  for (const [source, cidrs] of stated) {
    const ipv4 = cidrs.filter(isIpv4);
    if (ipv4.length > 0) {
      return { cidrs: ipv4, source, isGuess: false };
    }
  }
  return undefined;
};

/** What a person asked for by flags; what is missing is detected. */
export interface CidrFlags {
  readonly podCidr?: readonly string[];
  readonly serviceCidr?: readonly string[];
  readonly externalCidr?: string;
  readonly viewPool?: readonly string[];
}

/** Ranges of an installation. */
export interface PlannedCIDRs {
  readonly pods: Detected;
  readonly services: Detected;
}

const bad = (message: string, hint: string): FluviaError =>
  new FluviaError(ERROR_CODES.BAD_INPUT, message, { kind: 'terminal', hint });

const checked = (flagName: string, texts: readonly string[]): readonly Cidr[] =>
  texts.map((text) => {
    try {
      return parseCidr(text);
    } catch (error) {
      const hint = error instanceof FluviaError ? error.hint : undefined;
      throw bad(`${flagName}: ${messageOf(error)}`, hint ?? 'write an IPv4 range, e.g. 10.244.0.0/16');
    }
  });

const stated = (cidrs: readonly string[] | undefined, source: string): Detected | undefined =>
  cidrs === undefined ? undefined : { cidrs, source, isGuess: false };

/**
 * The ranges to install with: flags win over what is installed already (`kept`), that over what is found.
 * @throws {FluviaError} BAD_INPUT for a malformed flag, for ranges that overlap, and when a range can't be found.
 */
export const planCIDRs = (flags: CidrFlags, evidence: CidrEvidence, kept: CidrFlags = {}): PlannedCIDRs => {
  const installed = 'the installed NetworkConfig';
  const pods =
    stated(flags.podCidr, '--pod-cidr') ?? stated(kept.podCidr, installed) ?? detectPodCIDRs(evidence);
  const services =
    stated(flags.serviceCidr, '--service-cidr') ??
    stated(kept.serviceCidr, installed) ??
    detectServiceCIDRs(evidence);
  if (pods === undefined) {
    throw bad("this cluster does not tell its pods' address range", 'give it: --pod-cidr 10.244.0.0/16');
  }
  if (services === undefined) {
    throw bad(
      "this cluster does not tell its Services' address range",
      'give it: --service-cidr 10.96.0.0/16',
    );
  }
  const podRanges = checked('--pod-cidr', pods.cidrs);
  const serviceRanges = checked('--service-cidr', services.cidrs);
  checked('--view-pool', flags.viewPool ?? []);
  const given = flags.externalCidr ?? kept.externalCidr;
  const external = checked('--external-cidr', given === undefined ? [] : [given]);
  const clash = (a: readonly Cidr[], b: readonly Cidr[]): readonly [Cidr, Cidr] | undefined =>
    a.flatMap((x) => b.map((y) => [x, y] as const)).find(([x, y]) => cidrsOverlap(x, y));
  const overlap = clash(podRanges, serviceRanges) ?? clash(external, [...podRanges, ...serviceRanges]);
  if (overlap !== undefined) {
    const [a, b] = overlap.map(formatCidr);
    throw bad(
      `ranges ${a} and ${b} overlap`,
      'give --pod-cidr, --service-cidr and --external-cidr that are apart',
    );
  }
  return { pods, services };
};
