/** What `fluviactl install` decides; everything else of the manifest is fixed. */
export interface InstallOptions {
  /** The cluster's human name; unique among its peers. */
  readonly clusterName: string;
  /** Image of all roles. */
  readonly image: string;
  /** Version of Fluvia, kept on the controller's Deployment so that no older CLI takes it back. */
  readonly version?: string;
  readonly podCIDRs: readonly string[];
  readonly serviceCIDRs: readonly string[];
  /** Undefined leaves the schema's default. */
  readonly externalCIDR?: string;
  readonly viewPools?: readonly string[];
  readonly reservedCIDRs?: readonly string[];
  /** host:port under which peers reach this cluster, written into its invites; else they are found. */
  readonly peeringEndpoints?: readonly string[];
  /** Whether the API server serves MutatingAdmissionPolicy v1 (Kubernetes ≥ 1.36); default true. */
  readonly hasMutatingPolicies?: boolean;
}
