/** Names and numbers of everything that Fluvia makes on a node; all of it can be told from others' by them. */

/** The one WireGuard interface of a gateway. */
export const TUNNEL_DEVICE = 'fluvia0';
/** Fluvia's own VXLAN between the nodes of a cluster; carries each node's external address. */
export const VXLAN_DEVICE = 'fluvia-vx';
export const VXLAN_ID = 8473;
/** nftables: table `ip fluvia`. */
export const NFT_TABLE = 'fluvia';
/** Marks our routes and rules (`proto 84`); not in iproute2's rt_protos, so that it is shown as a number. */
export const ROUTE_PROTOCOL = 84;
/** Routing table that traffic out of the tunnel is looked up in first. */
export const TUNNEL_TABLE = '8473';
export const TUNNEL_RULE_PRIORITY = 8473;
/** Metric of the `unreachable` route behind each view: worse than any real route. */
export const UNREACHABLE_METRIC = 4294967294;
/** IPv4, UDP, VXLAN and inner Ethernet headers. */
export const VXLAN_OVERHEAD = 50;
/** IPv6 (the worst case), UDP, and WireGuard's data header and tag. */
export const WIREGUARD_OVERHEAD = 80;
/** Seconds between keepalives, so that address translators between gateways keep the flow. */
export const PERSISTENT_KEEPALIVE_SECONDS = 25;
/** Seconds after which a WireGuard session without a new handshake is dead (REJECT_AFTER_TIME of the protocol). */
export const HANDSHAKE_FRESH_SECONDS = 180;
/** Server-side apply field manager of the network controllers. */
export const FIELD_MANAGER = 'fluvia-network';
/** Field manager of the agents. */
export const AGENT_FIELD_MANAGER = 'fluvia-agent';
