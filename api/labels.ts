/** Every label, annotation, taint, gate and finalizer key that Fluvia writes or reads. */
export const GROUP = 'fluvia.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** Namespace of Fluvia's own workloads. */
export const SYSTEM_NAMESPACE = 'fluvia-system';
/** Namespace of the ServiceAccounts that stand for peerings: `<this>/<cluster ID>`. */
export const PEERS_NAMESPACE = 'fluvia-peers';
/** Namespace of this cluster's own volumes of class fluvia: what is the twin for a peer's. */
export const VOLUMES_NAMESPACE = 'fluvia-volumes';
/** All of Fluvia's own. */
export const OWN_NAMESPACES: readonly string[] = [SYSTEM_NAMESPACE, PEERS_NAMESPACE, VOLUMES_NAMESPACE];
/** ClusterRole that a peering's ServiceAccount is bound to, in its twin namespaces only. */
export const PEERING_CLUSTER_ROLE = 'fluvia-peering';

export const LABELS = {
  /** On a Namespace, by people: opens it to the fabric. */
  offload: 'fluvia.dev/offload',
  /** On a Namespace, by the controller, once its offloading stands: `local-and-remote`, `remote` or `local`. */
  strategy: 'fluvia.dev/strategy',
  /** On a virtual Node and on objects about one peer: the Peer's name. */
  peer: 'fluvia.dev/peer',
  /** On a twin namespace and on every shadow in it: the cluster ID of the home that it belongs to. */
  origin: 'fluvia.dev/origin',
  /** On a twin namespace: the namespace's name at home. */
  originNamespace: 'fluvia.dev/origin-namespace',
  /** On objects that Fluvia made from another cluster's: `true`. */
  reflected: 'fluvia.dev/reflected',
  /** On Offers: which controller wrote it. */
  offerSource: 'fluvia.dev/offer-source',
  /** On Nodes that stand for a grant: `true`. */
  virtualNode: 'fluvia.dev/virtual-node',
  managedBy: 'app.kubernetes.io/managed-by',
} as const;

export const ANNOTATIONS = {
  /** On a shadow's pod and on reflected objects: the UID of the object at home. */
  originUID: 'fluvia.dev/origin-uid',
  /** On a reflected ConfigMap or Secret: its name at home. */
  originName: 'fluvia.dev/origin-name',
  /** On a shadow's pod: the node name that home sees. */
  originNode: 'fluvia.dev/origin-node',
  /** On a reflected object: the hash of what was applied, to tell drift from news. */
  hash: 'fluvia.dev/hash',
  /** On an object at home: `true` keeps it from being reflected. */
  skipReflection: 'fluvia.dev/skip-reflection',
  /** On a twin namespace: comma-separated IDs of the further clusters that reach its shadows. */
  sharedWith: 'fluvia.dev/shared-with',
  /** On Service `fluvia-peering`: comma-separated host:port under which peers reach this cluster, if not its nodes. */
  peeringEndpoints: 'fluvia.dev/peering-endpoints',
  /** On a pod at home: which candidates were considered and why. */
  placement: 'fluvia.dev/placement',
  /** On a pod at home: `wait`, `replace` or `fence`, before what the FloatPolicy says. */
  onLoss: 'fluvia.dev/on-loss',
  /** On a Peer that is being deleted: `true` when the other side ended the peering, so that it need not be told. */
  endedByPeer: 'fluvia.dev/ended-by-peer',
  /** On a NamespaceOffloading: `true` when the namespace's label made it, so that it goes with the label. */
  madeByLabel: 'fluvia.dev/made-by-label',
} as const;

export const MANAGED_BY = 'fluvia';
/** Labels of Kubernetes on an EndpointSlice: its Service's name, and who writes it. */
export const SLICE_SERVICE_LABEL = 'kubernetes.io/service-name';
export const SLICE_MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';
/** The latter of the EndpointSlices that Fluvia adds. */
export const ENDPOINT_SLICE_MANAGED_BY = 'endpointslice.fluvia.dev';

/** Taint of every virtual node; only pods of opened namespaces tolerate it. */
export const VIRTUAL_NODE_TAINT = 'fluvia.dev/virtual-node';
/** Scheduling gate that holds a pod until the leader has placed it. */
export const FLOAT_GATE = 'fluvia.dev/float';

export const FINALIZERS = {
  /** On what must be cleaned up on this side before it goes. */
  cleanup: 'fluvia.dev/cleanup',
  /** On a home pod that runs at a peer: held until the peer's word that it is gone. */
  floated: 'fluvia.dev/floated',
  /** On a Peer that is a provider: held until its virtual nodes are drained and gone. */
  offloading: 'fluvia.dev/offloading',
  /** On a Peer that is a consumer: held until its shadows and twins are gone. */
  twins: 'fluvia.dev/twins',
} as const;

/** Name of the DaemonSet of agents, the controller Deployment, and its Services. */
export const NAMES = {
  agent: 'fluvia-agent',
  controller: 'fluvia-controller',
  peeringService: 'fluvia-peering',
  webhookService: 'fluvia-webhook',
  identitySecret: 'fluvia-identity',
  webhookSecret: 'fluvia-webhook',
  leaderLease: 'fluvia-controller',
  networkConfig: 'default',
  namespaceOffloading: 'offloading',
  /** The store's front (Deployment) and its keys. */
  store: 'fluvia-store',
  storeSecret: 'fluvia-store',
  /** The embedded S3 server (Deployment, Service, claim) and the Secret with its credentials. */
  objectStore: 'fluvia-object-store',
} as const;

/** Name of the init container that holds a `fence` pod until it may start. */
export const FENCE_CONTAINER = 'fluvia-fence';

/** Ports of Fluvia's own servers. */
export const PORTS = {
  /** The controller's peering listener (TLS 1.3, gRPC). */
  peering: 9443,
  /** The controller's admission webhook. */
  webhook: 9444,
  /** Health and metrics of the controller (plain HTTP). */
  metrics: 9445,
  /** The store's front (TLS 1.3, restic's REST protocol). */
  store: 9447,
  /** The embedded S3 server, inside the cluster only. */
  objectStore: 7070,
  /** First of the virtual kubelets' ports; each virtual node has one of its own. */
  kubeletBase: 10260,
  /** WireGuard on a gateway node, UDP. */
  wireguard: 51820,
  /** Fluvia's VXLAN between the nodes of one cluster, UDP. */
  vxlan: 8473,
  /** The agents' probe responder inside the tunnel, UDP. */
  probe: 51821,
  /** Health and metrics of an agent, on the node's loopback. */
  agentHealth: 9446,
  /** Where an agent says whether a `fence` pod may start, on the node's address, TCP. */
  fence: 9447,
} as const;
