/** How to reach one API server, and as whom. Both sources (`in-cluster.ts`, `kubeconfig.ts`) end in this type. */

export interface Impersonation {
  readonly user: string;
  readonly groups?: readonly string[] | undefined;
}

/** ClusterAccess holds secrets (`key`, what `token` returns): never log it. PEM throughout. */
export interface ClusterAccess {
  readonly server: URL;
  /** Trusted CAs; the system's are used when it is absent. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Gives the bearer token to send; asked for each request, so it caches by itself. */
  readonly token?: (() => Promise<string>) | undefined;
  /** Does not check the server's certificate. Only what a kubeconfig asks for explicitly. */
  readonly insecure?: boolean | undefined;
  /** Name that the server's certificate must carry, if it isn't the URL's host. */
  readonly serverName?: string | undefined;
  readonly impersonate?: Impersonation | undefined;
  /** Namespace of the context or of the pod's ServiceAccount. */
  readonly namespace?: string | undefined;
}
