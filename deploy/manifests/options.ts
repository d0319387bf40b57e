/** The S3 behind the store's front. */
export interface ObjectStoreOptions {
  /** Secret in the system namespace: endpoint, bucket, accessKey, secretKey, and region if it matters. */
  readonly secretName: string;
  /** The S3 server that is installed with it; missing when the Secret names another. */
  readonly embedded?: {
    readonly image: string;
    /** Size of its claim, as a quantity; missing keeps the copies only as long as the pod lives. */
    readonly size?: string;
    readonly storageClass?: string;
    /** Missing when its Secret is there already. Secrets. */
    readonly credentials?: { readonly accessKey: string; readonly secretKey: string };
  };
}

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
  /** Missing: this cluster holds no copies for its peers. */
  readonly objectStore?: ObjectStoreOptions;
  /** Whether the API server serves MutatingAdmissionPolicy v1 (Kubernetes ≥ 1.36); default true. */
  readonly hasMutatingPolicies?: boolean;
}
