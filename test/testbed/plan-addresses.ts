/** Names and addresses of a testbed, from its shape and its slot alone. All clusters have the same CIDRs on purpose. */
import { TestbedError } from './errors.ts';

export const POD_CIDR = '10.244.0.0/16';
export const SERVICE_CIDR = '10.96.0.0/16';
export const DNS_ADDRESS = '10.96.0.10';

/** A machine-wide slot is one /24 of 198.18.0.0/15 (RFC 2544: for tests, routed nowhere). */
export const SLOTS = 512;

export interface ClusterShape {
  readonly name: string;
  readonly nodes: number;
}

export interface NodePlan {
  readonly cluster: string;
  /** The Node object's name, `<cluster>-<number>`. */
  readonly name: string;
  readonly ip: string;
  /** Fixed: a restarted node with another one would meet a stale ARP entry for half a minute. */
  readonly mac: string;
  readonly podCidr: string;
  /** Its network namespace on the host. */
  readonly netns: string;
  /** Its port of the "internet" bridge, inside that namespace. */
  readonly port: string;
}

export interface ClusterPlan {
  readonly name: string;
  /** `https://198.18.X.Y:6443`, reachable from the host and from the nodes of every cluster. */
  readonly server: string;
  readonly nodes: readonly NodePlan[];
}

export interface TestbedPlan {
  readonly name: string;
  readonly slot: number;
  /** Of every name on the host. */
  readonly prefix: string;
  /** First three bytes of its /24, with the host at .1. */
  readonly subnet: string;
  readonly hostLink: string;
  readonly hostIp: string;
  /** The network namespace of the bridge that joins all nodes. */
  readonly internet: string;
  readonly clusters: readonly ClusterPlan[];
}

/** First three bytes of a slot's range. */
export const subnetOf = (slot: number): string => `198.${18 + Math.floor(slot / 256)}.${slot % 256}`;

export const prefixOf = (slot: number): string => `flv${slot}`;

/**
 * Lays out a testbed. Node addresses start at .11 and every cluster's at the next ten, so that they can be read:
 * .11 is the first cluster's first node, .22 the second's second.
 */
export const planTestbed = (name: string, slot: number, shape: readonly ClusterShape[]): TestbedPlan => {
  const prefix = prefixOf(slot);
  const subnet = subnetOf(slot);
  const [, high = '18', low = '0'] = subnet.split('.');
  const hex = (value: string | number): string => Number(value).toString(16).padStart(2, '0');
  let start = 10;
  const clusters = shape.map((cluster, index): ClusterPlan => {
    const base = start;
    start += 10 * Math.ceil((cluster.nodes + 1) / 10);
    const nodes = Array.from({ length: cluster.nodes }, (_, at): NodePlan => {
      const byte = base + at + 1;
      return {
        cluster: cluster.name,
        name: `${cluster.name}-${at + 1}`,
        ip: `${subnet}.${byte}`,
        mac: `02:00:c6:${hex(high)}:${hex(low)}:${hex(byte)}`,
        podCidr: `10.244.${at}.0/24`,
        netns: `${prefix}-${cluster.name}-${at + 1}`,
        port: `c${index + 1}n${at + 1}`,
      };
    });
    return { name: cluster.name, server: `https://${subnet}.${base + 1}:6443`, nodes };
  });
  if (start > 250)
    throw new TestbedError(
      `${shape.length} clusters with ${shape.map((c) => c.nodes).join(',')} nodes don't fit into one /24`,
      'Ask for fewer.',
    );
  return {
    name,
    slot,
    prefix,
    subnet,
    clusters,
    hostLink: `${prefix}-host`,
    hostIp: `${subnet}.1`,
    internet: `${prefix}-inet`,
  };
};
