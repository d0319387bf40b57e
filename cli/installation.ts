import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { NAMES, SYSTEM_NAMESPACE } from '../api/labels.ts';
import { CRD, DAEMON_SET, DEPLOYMENT } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { Cluster } from './context.ts';

/** What is installed in a cluster. */
export interface Installation {
  readonly clusterName: string;
  readonly image: string;
  /** Version of Fluvia; undefined where the installer did not note it. */
  readonly version?: string;
  readonly controllersReady: number;
  readonly controllers: number;
  readonly agentsReady: number;
  readonly agents: number;
}

interface Workload extends KubeObject {
  readonly spec: {
    readonly replicas?: number;
    readonly template: {
      readonly spec: {
        readonly containers: readonly {
          readonly image: string;
          readonly env?: readonly { readonly name: string; readonly value?: string }[];
        }[];
      };
    };
  };
  readonly status?: Readonly<Record<string, number | undefined>>;
}

/** What is installed; undefined when the controller isn't. */
export const findInstallation = async ({ client }: Cluster): Promise<Installation | undefined> => {
  const [deployment, daemonSet] = await Promise.all([
    client.get<Workload>(DEPLOYMENT, NAMES.controller, SYSTEM_NAMESPACE),
    client.get<Workload>(DAEMON_SET, NAMES.agent, SYSTEM_NAMESPACE),
  ]);
  const container = deployment?.spec.template.spec.containers[0];
  if (deployment === undefined || container === undefined) {
    return undefined;
  }
  const version = deployment.metadata.labels?.['app.kubernetes.io/version'];
  return {
    clusterName: container.env?.find((e) => e.name === 'FLUVIA_CLUSTER_NAME')?.value ?? '',
    image: container.image,
    ...(version === undefined ? {} : { version }),
    controllers: deployment.spec.replicas ?? 0,
    controllersReady: deployment.status?.['readyReplicas'] ?? 0,
    agents: daemonSet?.status?.['desiredNumberScheduled'] ?? 0,
    agentsReady: daemonSet?.status?.['numberReady'] ?? 0,
  };
};

/**
 * What is installed.
 * @throws {FluviaError} NOT_INSTALLED with the command that installs it.
 */
export const requireInstallation = async (cluster: Cluster): Promise<Installation> => {
  const found = await findInstallation(cluster);
  const hasKinds = (await cluster.client.get(CRD, 'peers.fluvia.dev')) !== undefined;
  if (found === undefined || !hasKinds) {
    throw new FluviaError(
      ERROR_CODES.NOT_INSTALLED,
      `Fluvia is not installed in this cluster (${cluster.source})`,
      {
        kind: 'terminal',
        hint: `run: fluviactl install${cluster.flag} --cluster-name NAME --image IMAGE`,
      },
    );
  }
  return found;
};
