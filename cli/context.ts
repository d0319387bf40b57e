import type { Command } from 'commander';
import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';
import { createKubeClient, type KubeClient } from '../runtime/kube/client.ts';
import { ApiError } from '../runtime/kube/errors.ts';
import { loadKubeconfig } from '../runtime/kube/kubeconfig.ts';
import { createSteps, type Steps } from './output/steps.ts';
import type { Terminal } from './output/terminal.ts';

/** Version of this CLI and of what it installs. */
export { BUILD_VERSION as VERSION } from '../peering/protocol.ts';

/** What every command is given. */
export interface CliContext {
  readonly terminal: Terminal;
  readonly steps: Steps;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts at Ctrl-C; what was begun can be taken up by running the command again. */
  readonly signal: AbortSignal;
  /** The name that it was called by: `fluviactl` or `kubectl fluvia`. */
  readonly program: string;
  /** Reads standard input to its end. */
  readonly readInput: () => Promise<string>;
}

/** Makes the context of a process. */
export const createContext = (parts: Omit<CliContext, 'steps'>): CliContext => ({
  ...parts,
  steps: createSteps(parts.terminal),
});

/** Flags that choose a cluster. */
export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** A cluster that was reached. */
export interface Cluster {
  readonly client: KubeClient;
  /** How messages name it: the kubeconfig's path and context. */
  readonly source: string;
  /** The kubeconfig flag to write in hints, with a leading space; empty when it is the default. */
  readonly flag: string;
  /** Server version, e.g. `v1.37.2`. */
  readonly version: string;
}

/** Adds `--kubeconfig` and `--context` to a command. */
export const withClusterFlags = (command: Command): Command =>
  command
    .option('--kubeconfig <path>', 'kubeconfig of the cluster (default: $KUBECONFIG, else ~/.kube/config)')
    .option('--context <name>', 'context of the kubeconfig (default: its current one)');

/** The oldest server whose features Fluvia needs: node claims in tokens, which the agents' admission policy reads. */
const OLDEST_MINOR = 32;

const unreachable = (source: string, error: unknown): FluviaError => {
  const status = error instanceof ApiError ? error.status : 0;
  if (status === 401 || status === 403) {
    return new FluviaError(
      ERROR_CODES.FORBIDDEN,
      `${source}: the API server refuses these credentials (${status})`,
      {
        kind: 'terminal',
        hint: 'renew the credentials, or give another --kubeconfig or --context',
        cause: error,
      },
    );
  }
  return new FluviaError(ERROR_CODES.UNREACHABLE, `${source}: ${messageOf(error)}`, {
    kind: 'terminal',
    hint: 'check that the cluster runs and that its API server can be reached from here',
    cause: error,
  });
};

/**
 * Connects and asks the server's version, so that a wrong kubeconfig is told before anything is begun.
 * @throws {FluviaError} BAD_INPUT, UNREACHABLE or FORBIDDEN.
 */
export const connect = async (cli: CliContext, flags: ClusterFlags): Promise<Cluster> => {
  const access = await loadKubeconfig({ path: flags.kubeconfig, context: flags.context, env: cli.env });
  const source = `kubeconfig ${access.source}, context ${access.context}`;
  const client = createKubeClient(access, { userAgent: 'fluviactl' });
  cli.signal.addEventListener('abort', () => void client.close(), { once: true });
  try {
    const { gitVersion, minor } = await client.request<{ gitVersion: string; minor: string }>(
      'GET',
      '/version',
      undefined,
      {},
      { timeoutMs: 10_000, signal: cli.signal },
    );
    if (Number.parseInt(minor, 10) < OLDEST_MINOR) {
      throw new FluviaError(ERROR_CODES.BAD_INPUT, `${source}: Kubernetes ${gitVersion} is too old`, {
        kind: 'terminal',
        hint: `Fluvia needs Kubernetes 1.${OLDEST_MINOR} or newer`,
      });
    }
    const flag = flags.kubeconfig === undefined ? '' : ` --kubeconfig ${flags.kubeconfig}`;
    return { client, source, flag, version: gitVersion };
  } catch (error) {
    await client.close();
    cli.signal.throwIfAborted();
    throw error instanceof FluviaError ? error : unreachable(source, error);
  }
};

/** Connects, runs `work` and closes the connection whatever happens. */
export const withCluster = async <T>(
  cli: CliContext,
  flags: ClusterFlags,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> => {
  const cluster = await connect(cli, flags);
  try {
    return await work(cluster);
  } finally {
    await cluster.client.close();
  }
};
