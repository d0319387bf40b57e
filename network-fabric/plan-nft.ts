/**
 * The table `ip fluvia` that a node shall have, as data.
 *
 * On the wire between two clusters a packet's source is the receiver's view of the sender and its destination the
 * sender's view of the receiver. `@in` and `@out` hold that translation for all peerings; everything that they don't
 * know is dropped.
 */
import { PORTS } from '../api/labels.ts';
import { formatCidr, parseCidr, type Cidr } from '../api/ip-range.ts';
import { seenAs } from '../api/views.ts';
import { TUNNEL_DEVICE, VXLAN_DEVICE } from './names.ts';
import type { FabricPeer, NodeFabric } from './plan-node.ts';
import { disjointRanges, formatRange, rangeText, withoutNested } from './ranges.ts';

export interface NftSet {
  readonly name: string;
  /** As nft writes it; with ` : ` for a map. */
  readonly type: string;
  /** Declared as an interval on its data side, for prefix translation. */
  readonly isPrefixMap: boolean;
  /** `key` or `key : value`, disjoint, sorted. */
  readonly elements: readonly string[];
}

export interface NftChain {
  readonly name: string;
  readonly type: 'filter' | 'nat';
  readonly hook: string;
  readonly priority: number;
  readonly rules: readonly string[];
}

export interface NftTable {
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

const ADDRESS = 'ipv4_addr';
const PAIR = `${ADDRESS} . ${ADDRESS}`;

const set = (name: string, type: string, elements: readonly string[], isPrefixMap = false): NftSet => ({
  name,
  type,
  isPrefixMap,
  elements: [...new Set(elements)].sort(),
});

/** Prefixes on a map's data side keep their length, also /32: nft takes an interval there, never a single address. */
const dataRange = (cidr: string): string => formatCidr(parseCidr(cidr));

const pairsOf = (peer: FabricPeer): string[] =>
  peer.theirs.flatMap((t) => peer.ours.map((o) => `${rangeText(t.view)} . ${rangeText(o.view)}`));

const inOf = (peer: FabricPeer): string[] =>
  peer.theirs.flatMap((t) =>
    peer.ours.map((o) => `${rangeText(t.view)} . ${rangeText(o.view)} : ${dataRange(o.real)}`),
  );

const outOf = (peer: FabricPeer): string[] =>
  peer.theirs.flatMap((t) =>
    peer.ours.map((o) => `${rangeText(t.view)} . ${rangeText(o.real)} : ${dataRange(o.view)}`),
  );

const externalOf = (peer: FabricPeer, externalAddress: string): string[] => {
  const seen = seenAs(
    peer.ours.filter((range) => range.purpose === 'External'),
    externalAddress,
  );
  return seen === undefined ? [] : peer.theirs.map((t) => `${rangeText(t.view)} : ${seen}`);
};

/** Offered ranges of one peer by port (`''`: all ports), without nested ones, since concatenated sets refuse overlaps. */
const offeredByPort = (peer: FabricPeer): Map<string, Cidr[]> => {
  const ranges = new Map<string, Cidr[]>();
  for (const { cidr, ports } of peer.offered) {
    const keys =
      ports === undefined ? [''] : ports.map(({ protocol, port }) => `${protocol.toLowerCase()} . ${port}`);
    for (const key of keys) ranges.set(key, [...(ranges.get(key) ?? []), parseCidr(cidr)]);
  }
  return new Map([...ranges].map(([key, cidrs]) => [key, withoutNested(cidrs)]));
};

const offeredOf = (peer: FabricPeer, withPorts: boolean): string[] =>
  [...offeredByPort(peer)]
    .filter(([port]) => (port !== '') === withPorts)
    .flatMap(([port, cidrs]) =>
      peer.theirs.flatMap((t) =>
        cidrs.map((cidr) => `${rangeText(t.view)} . ${formatRange(cidr)}${port === '' ? '' : ` . ${port}`}`),
      ),
    );

const planSets = (node: NodeFabric): NftSet[] => {
  const all = (elementsOf: (peer: FabricPeer) => readonly string[]): string[] =>
    node.peers.flatMap(elementsOf);
  return [
    set('views', ADDRESS, disjointRanges(all((peer) => peer.theirs.map((t) => t.view)))),
    set('local', ADDRESS, disjointRanges([...node.podCIDRs, node.externalCIDR])),
    set(
      'nodes',
      ADDRESS,
      node.neighbours.map((neighbour) => neighbour.nodeAddress),
    ),
    set('pairs', PAIR, all(pairsOf)),
    set(
      'offered',
      PAIR,
      all((peer) => offeredOf(peer, false)),
    ),
    set(
      'offered-ports',
      `${PAIR} . inet_proto . inet_service`,
      all((peer) => offeredOf(peer, true)),
    ),
    set('in', `${PAIR} : ${ADDRESS}`, all(inOf), true),
    set('out', `${PAIR} : ${ADDRESS}`, all(outOf), true),
    set(
      'external',
      `${ADDRESS} : ${ADDRESS}`,
      all((peer) => externalOf(peer, node.externalAddress)),
    ),
  ];
};

const T = `"${TUNNEL_DEVICE}"`;
const V = `"${VXLAN_DEVICE}"`;
const BOTH = `{ ${T}, ${V} }`;
const DROP = 'counter drop';
/** Packets of flows that this side began. Judged packet by packet, so withdrawing an offer also cuts flows that stand. */
const REPLY = 'ct direction reply ct state established,related accept';

/** Sources in a view come over the VXLAN only from the gateway, and never to it. */
const vxlanSourceRule = (node: NodeFabric): string => {
  const mac = node.neighbours.find((neighbour) => neighbour.isGateway)?.mac;
  const match = mac === undefined ? '' : `ether saddr != ${mac} `;
  return `iifname ${V} ip saddr @views ${match}${DROP}`;
};

const planChains = (node: NodeFabric): NftChain[] => [
  {
    name: 'known',
    type: 'filter',
    hook: 'prerouting',
    priority: -300,
    rules: [
      `iifname ${T} ip saddr . ip daddr @pairs accept`,
      `iifname ${T} ${DROP}`,
      vxlanSourceRule(node),
      `iifname != ${BOTH} ip saddr @views ${DROP}`,
    ],
  },
  {
    name: 'to-real',
    type: 'nat',
    hook: 'prerouting',
    priority: -110,
    rules: [`iifname ${T} dnat ip prefix to ip saddr . ip daddr map @in`],
  },
  {
    name: 'input',
    type: 'filter',
    hook: 'input',
    priority: -10,
    rules: [
      `udp dport ${node.vxlanPort} ip saddr != @nodes ${DROP}`,
      `iifname != "lo" tcp dport ${PORTS.fence} ip saddr != @local ip saddr != @nodes ${DROP}`,
      `iifname ${BOTH} ${REPLY}`,
      `iifname ${T} ip daddr ${node.externalAddress} udp dport ${PORTS.probe} accept`,
      `iifname ${BOTH} ${DROP}`,
    ],
  },
  {
    name: 'mss',
    type: 'filter',
    hook: 'forward',
    priority: -150,
    rules: [
      `oifname ${BOTH} tcp flags syn tcp option maxseg size set rt mtu`,
      `iifname ${BOTH} tcp flags syn tcp option maxseg size set rt mtu`,
    ],
  },
  {
    name: 'forward',
    type: 'filter',
    hook: 'forward',
    priority: -10,
    rules: [
      `udp dport ${node.vxlanPort} ${DROP}`,
      `iifname ${T} ${REPLY}`,
      `iifname ${T} ip protocol icmp ct state related accept`,
      `iifname ${T} ip saddr . ip daddr @offered accept`,
      `iifname ${T} ip saddr . ip daddr . meta l4proto . th dport @offered-ports accept`,
      `iifname ${T} ${DROP}`,
      `iifname ${V} ip saddr @views accept`,
      `iifname ${V} oifname ${T} ip saddr @local accept`,
      `iifname ${V} ${DROP}`,
    ],
  },
  {
    name: 'egress',
    type: 'filter',
    hook: 'postrouting',
    priority: 80,
    rules: [`oifname != ${BOTH} ip daddr @views ${DROP}`],
  },
  {
    // Before the CNI's and kube-proxy's masquerade at 100: the first that translates a flow's source wins.
    name: 'to-view',
    type: 'nat',
    hook: 'postrouting',
    priority: 90,
    rules: [
      `oifname ${T} snat ip prefix to ip daddr . ip saddr map @out`,
      `oifname ${T} snat ip to ip daddr map @external`,
      `oifname ${T} ${DROP}`,
      `oifname ${V} ip daddr @views ip saddr @local snat ip to ip saddr`,
      `oifname ${V} ip daddr @views snat ip to ${node.externalAddress}`,
      'ip saddr @views snat ip to ip saddr',
    ],
  },
];

/** planNft is the whole table of a node. */
export const planNft = (node: NodeFabric): NftTable => ({ sets: planSets(node), chains: planChains(node) });
