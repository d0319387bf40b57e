import { Option, type Command } from 'commander';
import { isConditionTrue, type Condition } from '../../api/conditions.ts';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { API_VERSION, LABELS, NAMES, OWN_NAMESPACES } from '../../api/labels.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { NamespaceOffloading } from '../../api/v1alpha1/namespace-offloading.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { NAMESPACE, PERSISTENT_VOLUME_CLAIM } from '../../runtime/kube/resources.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { FIELD_MANAGER } from '../apply-stages.ts';
import {
  withCluster,
  withClusterFlags,
  type CliContext,
  type Cluster,
  type ClusterFlags,
} from '../context.ts';
import { usageError } from '../exit.ts';
import { repeatable, seconds } from '../flags.ts';
import { requireInstallation } from '../installation.ts';
import { closedText } from '../plan-closed.ts';
import { volumesAway } from '../volumes-at-peers.ts';
import { waitUntil, type Progress } from '../wait.ts';

/** Flag values → values of the API. */
const STRATEGIES = { 'local-and-remote': 'LocalAndRemote', remote: 'Remote', local: 'Local' } as const;

interface OffloadFlags extends ClusterFlags {
  readonly strategy: keyof typeof STRATEGIES;
  readonly peer?: readonly string[];
  readonly mapping: 'auto' | 'same';
  readonly wait: boolean;
  readonly timeout: number;
}

type UnoffloadFlags = ClusterFlags & Pick<OffloadFlags, 'wait' | 'timeout'>;

const OFFLOADING = fluviaRef('NamespaceOffloading');

const requireNamespace = async ({ client }: Cluster, name: string): Promise<KubeObject> => {
  if (OWN_NAMESPACES.includes(name) || name.startsWith('kube-')) {
    throw usageError(`namespace ${name} belongs to the cluster itself`, 'open a namespace of applications');
  }
  const namespace = await client.get(NAMESPACE, name);
  if (namespace === undefined) {
    throw new FluviaError(ERROR_CODES.NOT_FOUND, `there is no namespace "${name}"`, {
      kind: 'terminal',
      hint: `make it first: kubectl create namespace ${name}`,
    });
  }
  if (namespace.metadata.labels?.[LABELS.origin] !== undefined) {
    throw usageError(
      `namespace ${name} is the twin of another cluster's`,
      "open a namespace that is this cluster's own",
    );
  }
  return namespace;
};

const requirePeers = async ({ client, flag }: Cluster, names: readonly string[]): Promise<void> => {
  const known = (await client.list(fluviaRef('Peer'))).items.map((peer) => peer.metadata.name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new FluviaError(ERROR_CODES.NOT_PEERED, `there is no peer "${unknown}"`, {
      kind: 'terminal',
      hint:
        known.length === 0
          ? `peer first: fluviactl peer${flag} --remote-kubeconfig FILE`
          : `peers are: ${known.join(', ')}`,
    });
  }
};

const readiness = async ({ client }: Cluster, name: string): Promise<Progress<readonly string[]>> => {
  const object = await client.get<NamespaceOffloading>(OFFLOADING, NAMES.namespaceOffloading, name);
  const conditions = object?.status?.conditions as readonly Condition[] | undefined;
  const ready = conditions?.find((c) => c.type === 'Ready');
  if (
    isConditionTrue(conditions, 'Ready') &&
    (ready?.observedGeneration ?? 0) >= (object?.metadata.generation ?? 0)
  ) {
    return { done: object?.status?.peers?.filter((peer) => peer.ready).map((peer) => peer.peer) ?? [] };
  }
  return { waitingFor: ready?.message ?? 'the controller to see it' };
};

const offload = async (cli: CliContext, name: string, flags: OffloadFlags): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    await requireInstallation(cluster);
    await requireNamespace(cluster, name);
    await requirePeers(cluster, flags.peer ?? []);
    if ((await cluster.client.get(OFFLOADING, NAMES.namespaceOffloading, name)) !== undefined) {
      cli.steps.say(`Namespace ${name} is open already; what is given now is what holds.`);
    }
    await cli.steps.run(`Namespace ${name} is opened`, () =>
      cluster.client.apply(
        OFFLOADING,
        {
          apiVersion: API_VERSION,
          kind: OFFLOADING.kind,
          metadata: { name: NAMES.namespaceOffloading, namespace: name },
          spec: {
            strategy: STRATEGIES[flags.strategy],
            mapping: flags.mapping,
            ...(flags.peer === undefined ? {} : { peers: flags.peer }),
          },
        } as KubeObject,
        { fieldManager: FIELD_MANAGER, force: true, signal: cli.signal },
      ),
    );
    if (!flags.wait) {
      return;
    }
    const peers = await cli.steps.run('Its twins stand', (note) =>
      waitUntil(() => readiness(cluster, name), {
        what: `namespace ${name}`,
        timeoutMs: flags.timeout,
        signal: cli.signal,
        note,
        hint: `look: kubectl -n ${name} describe namespaceoffloading offloading`,
      }),
    );
    const where = peers.length === 0 ? 'no peer yet; it opens to each that is peered' : peers.join(', ');
    cli.terminal.out(`Namespace ${name} is open (${flags.strategy}) to ${where}.\n`);
  });

const unoffload = async (cli: CliContext, name: string, flags: UnoffloadFlags): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    const { client } = cluster;
    const { clusterName } = await requireInstallation(cluster);
    const namespace = await requireNamespace(cluster, name);
    const { whole: away, tails } = await volumesAway(client, name);
    if (away.length > 0)
      throw new FluviaError(
        ERROR_CODES.CONFLICT,
        `volumes are at peers, and would go with what is closed there: ${away.join(', ')}`,
        {
          kind: 'terminal',
          hint: `move each here: fluviactl move volume CLAIM -n ${name} --to ${clusterName}; or delete their claims`,
        },
      );
    if (tails.length > 0)
      throw new FluviaError(
        ERROR_CODES.CONFLICT,
        `what was written last at a peer before it was lost is there only, and would go with what is closed there: ${tails.join(', ')}`,
        {
          kind: 'terminal',
          hint: `to keep it move each there and back: fluviactl move volume CLAIM -n ${name} --to PEER; or give it up: kubectl annotate pv VOLUME ${STORAGE_ANNOTATIONS.diverged}-`,
        },
      );
    await cli.steps.run(`Namespace ${name} is closed`, async (note) => {
      if (namespace.metadata.labels?.[LABELS.offload] !== undefined) {
        const body = { metadata: { labels: { [LABELS.offload]: null } } };
        await client.patch(NAMESPACE, name, undefined, body, { type: 'merge', fieldManager: FIELD_MANAGER });
      }
      await client.delete(OFFLOADING, NAMES.namespaceOffloading, name);
      if (flags.wait) {
        await waitUntil(
          async () => {
            const object = await client.get<NamespaceOffloading>(OFFLOADING, NAMES.namespaceOffloading, name);
            const why = object?.status?.conditions?.find((c) => c.type === 'Ready')?.message;
            return object === undefined
              ? { done: undefined }
              : { waitingFor: why ?? 'its pods to leave the peers' };
          },
          {
            what: `closing namespace ${name}`,
            timeoutMs: flags.timeout,
            signal: cli.signal,
            note,
            hint: `look: kubectl -n ${name} describe namespaceoffloading offloading`,
          },
        );
      }
    });
    const claims = await client.list<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, { namespace: name });
    cli.terminal.out(closedText(name, flags.wait, claims.items));
  });

const withWait = (command: Command): Command =>
  withClusterFlags(command)
    .addOption(new Option('--wait', 'wait until it is done').default(true))
    .option('--no-wait', 'return at once')
    .option('--timeout <duration>', 'how long to wait', seconds, 120_000);

/** `fluviactl offload namespace` and `unoffload namespace`. */
export const registerOffload = (program: Command, cli: CliContext): void => {
  const opening = program.command('offload').description('let something flow to peers');
  withWait(opening.command('namespace').description('open a namespace: its pods may run at peers'))
    .argument('<namespace>')
    .addOption(
      new Option('--strategy <strategy>', 'where its pods may run')
        .choices(Object.keys(STRATEGIES))
        .default('local-and-remote'),
    )
    .option('--peer <name>', 'peer that it may flow to, repeatable (default: every provider)', repeatable)
    .addOption(
      new Option('--mapping <mapping>', 'name at the peer: same as here, or suffixed where it is taken')
        .choices(['auto', 'same'])
        .default('auto'),
    )
    .action((name: string, flags: OffloadFlags) => offload(cli, name, flags));
  const closing = program.command('unoffload').description('take back what flowed to peers');
  withWait(closing.command('namespace').description('close a namespace: its pods come home'))
    .argument('<namespace>')
    .action((name: string, flags: UnoffloadFlags) => unoffload(cli, name, flags));
};
