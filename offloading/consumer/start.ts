/**
 * The consumer's side of offloading; the leader runs it.
 *
 * RBAC it needs (ClusterRole of the controller's ServiceAccount; `''` is the core group):
 * - '' namespaces: get, list, watch, patch (the strategy label)
 * - '' nodes: get, list, watch, create, update, patch, delete; nodes/status: patch, update
 * - '' pods: get, list, watch, patch, delete; pods/status: patch
 * - '' services, configmaps, secrets: get, list, watch (reflection of what floated pods refer to)
 * - discovery.k8s.io endpointslices: get, list, watch
 * - coordination.k8s.io leases in `kube-node-lease`: get, create, update, patch, delete (Role there)
 * - events.k8s.io events (and '' events): create, patch
 * - admissionregistration.k8s.io mutatingwebhookconfigurations: list, watch; get, patch with resourceNames
 *   [fluvia-remote, fluvia]
 * - authentication.k8s.io tokenreviews: create; authorization.k8s.io subjectaccessreviews: create
 * - RoleBinding in `kube-system` to the built-in Role `extension-apiserver-authentication-reader`
 * - fluvia.dev: peers, claims, views, networkconfigs, fabricnodes: get, list, watch; namespaceoffloadings (+ /status,
 *   /finalizers), virtualnodes (+ /status, /finalizers), offers: get, list, watch, create, update, patch, delete;
 *   claims/finalizers: update (ownerReferences with blockOwnerDeletion)
 *
 * Ports: each virtual node listens at PORTS.kubeletBase + n on the controller's pod; the API server must reach it.
 * DaemonSets of the installation must stay off virtual nodes: node affinity `fluvia.dev/virtual-node DoesNotExist`.
 */
export {};
