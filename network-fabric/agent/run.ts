/**
 * The agent: one on every node (DaemonSet), host network. It reads Fluvia's objects of its own cluster, brings the node's
 * tunnel, routes and nftables to what they say, and writes its own node's status. It holds no state of its own and no
 * credentials for other clusters; when it dies, what it made keeps working.
 *
 * What its pod needs (for the manifests):
 * - Pod: `hostNetwork: true`, `dnsPolicy: ClusterFirstWithHostNet`, tolerates everything, not on virtual nodes (node
 *   affinity: `fluvia.dev/virtual-node` DoesNotExist), `terminationGracePeriodSeconds: 10`, updateStrategy RollingUpdate.
 * - Container `agent` (`fluviad agent`): uid 0, capabilities drop ALL, add NET_ADMIN; allowPrivilegeEscalation false;
 *   readOnlyRootFilesystem true. Tools in the image's PATH: `nft`, `ip`, `bridge` (iproute2), `wg`.
 *   Mounts: emptyDir `wireguard` (medium Memory) at /var/run/wireguard; hostPath /proc/sys/net (type Directory) at
 *   /host/proc/sys/net (runc refuses mounts below /proc); emptyDir `run` (medium Memory) at /run/fluvia (iproute2, nft
 *   and wg write nothing else). hostPath /dev/net/tun isn't needed here.
 * - Container `wireguard` (`/bin/sh <image path of network-fabric/agent/wireguard-go.sh>`): uid 0, capabilities drop ALL,
 *   add NET_ADMIN; allowPrivilegeEscalation false; readOnlyRootFilesystem true. In its PATH: `wireguard-go`, `sleep`,
 *   `rm`. Mounts: the same emptyDir at /var/run/wireguard; hostPath /dev/net/tun (type CharDevice) at /dev/net/tun.
 *   On nodes whose kernel has WireGuard it idles.
 * - Env of `agent`: NODE_NAME (spec.nodeName); optional FLUVIA_SYSCTL_ROOT (default /host/proc/sys/net).
 * - The node forwards (net.ipv4.ip_forward=1, as every CNI needs); the agent doesn't change that, but says so.
 * - UDP open between nodes of the cluster: 8473; from peers' gateways: 51820 (both in NetworkConfig).
 *
 * RBAC (ClusterRole of the agent's ServiceAccount):
 * - fluvia.dev: networkconfigs, views, gateways, fabricnodes, offers: get, list, watch
 * - fluvia.dev: gateways/status, fabricnodes/status: patch
 * - fluvia.dev: gateways, fabricnodes: patch (only to take the finalizer `fluvia.dev/cleanup` off its own node's objects;
 *   an admission policy holds it to the objects named as the token's node claim)
 *
 * Uninstall: delete the NetworkConfig (or this node's FabricNode): the agent removes everything it made from the node and
 * then takes the finalizer off its FabricNode and Gateway. Keep agents running until no FabricNode is left (≤ 60 s).
 */
export {};
