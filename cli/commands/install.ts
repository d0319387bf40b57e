import { Option, type Command } from 'commander';
import { DnsLabel } from '../../api/cluster-id.ts';
import { ANNOTATIONS, NAMES, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import type { NetworkConfig } from '../../api/v1alpha1/network-config.ts';
import { installStages } from '../../deploy/manifests/manifest.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import type { InstallOptions } from '../../deploy/manifests/options.ts';
import { toYaml } from '../../deploy/yaml.ts';
import { Endpoint } from '../../peering/token.ts';
import { CRD, DAEMON_SET, MUTATING_ADMISSION_POLICY, SERVICE } from '../../runtime/kube/resources.ts';
import { applyStages } from '../apply-stages.ts';
import { gatherCidrEvidence } from '../cidr-evidence.ts';
import {
  VERSION,
  withCluster,
  withClusterFlags,
  type CliContext,
  type Cluster,
  type ClusterFlags,
} from '../context.ts';
import { usageError } from '../exit.ts';
import { daemonSetWarnings, type DaemonSetView } from '../greedy-daemon-sets.ts';
import { findInstallation, type Installation } from '../installation.ts';
import { planObjectStore, type ObjectStoreFlags } from '../object-store.ts';
import { planCIDRs, type CidrFlags } from '../plan-cidrs.ts';
import { rolloutProgress } from '../rollout.ts';
import { repeatable, seconds } from '../flags.ts';
import { isNewer } from '../versions.ts';
import { waitUntil } from '../wait.ts';

interface InstallFlags extends ClusterFlags, CidrFlags, ObjectStoreFlags {
  readonly clusterName?: string;
  readonly image?: string;
  readonly peeringEndpoint?: readonly string[];
  readonly wait: boolean;
  readonly timeout: number;
  readonly dryRun?: boolean;
}

const nameOf = (flags: InstallFlags, installed: Installation | undefined): string => {
  const name = flags.clusterName ?? installed?.clusterName;
  if (name === undefined) {
    throw usageError(
      'the cluster needs a name',
      'give one that is unique among its peers: --cluster-name home',
    );
  }
  if (!DnsLabel.safeParse(name).success) {
    throw usageError(
      `"${name}" can't be a cluster's name`,
      'use lower-case letters, digits and hyphens, at most 63',
    );
  }
  return name;
};

const imageOf = (cli: CliContext, flags: InstallFlags, installed: Installation | undefined): string => {
  const image = flags.image ?? cli.env['FLUVIA_IMAGE'] ?? installed?.image;
  if (image === undefined) {
    throw usageError(
      'the image of Fluvia is not given',
      'build it (npm run image), push or load it, and give its name: --image registry.example/fluvia:0.1.0',
    );
  }
  return image;
};

/** An older CLI would take back kinds and rights that the running version needs. */
const refuseDowngrade = (cluster: Cluster, installed: Installation | undefined): void => {
  if (installed?.version !== undefined && isNewer(installed.version, VERSION)) {
    throw usageError(
      `Fluvia ${installed.version} is installed there, newer than this ${VERSION} (${cluster.source})`,
      `use fluviactl ${installed.version} or newer; to go back, uninstall first`,
    );
  }
};

/** A cluster that has peers keeps its name: theirs is the name of a Peer object over there. */
const refuseRenaming = async (
  cluster: Cluster,
  name: string,
  installed: Installation | undefined,
): Promise<void> => {
  if (installed === undefined || installed.clusterName === name) {
    return;
  }
  const peers = await cluster.client.list(fluviaRef('Peer'));
  if (peers.items.length > 0) {
    throw usageError(
      `this cluster is installed as "${installed.clusterName}" and has peers that know it by that name`,
      `keep --cluster-name ${installed.clusterName}, or unpeer first`,
    );
  }
};

/** What an earlier install or a person decided, and an upgrade without flags must keep. */
const keptOptions = async ({
  client,
}: Cluster): Promise<{ readonly cidrs: CidrFlags; readonly endpoints: readonly string[] }> => {
  const hasKind = (await client.get(CRD, 'networkconfigs.fluvia.dev')) !== undefined;
  const config = hasKind
    ? await client.get<NetworkConfig>(fluviaRef('NetworkConfig'), NAMES.networkConfig)
    : undefined;
  const service = await client.get(SERVICE, NAMES.peeringService, SYSTEM_NAMESPACE);
  return {
    cidrs:
      config === undefined
        ? {}
        : {
            podCidr: config.spec.podCIDRs,
            ...(config.spec.serviceCIDRs.length === 0 ? {} : { serviceCidr: config.spec.serviceCIDRs }),
            externalCidr: config.spec.externalCIDR,
            viewPool: config.spec.viewPools,
          },
    endpoints: (service?.metadata.annotations?.[ANNOTATIONS.peeringEndpoints] ?? '')
      .split(',')
      .filter((endpoint) => endpoint !== ''),
  };
};

/** Kubernetes before 1.36 does not serve them as v1. */
const servesMutatingPolicies = async ({ client }: Cluster): Promise<boolean> => {
  const { resources } = await client.request<{ resources: readonly { readonly name: string }[] }>(
    'GET',
    '/apis/admissionregistration.k8s.io/v1',
  );
  return resources.some(({ name }) => name === MUTATING_ADMISSION_POLICY.plural);
};

const planOptions = async (
  cli: CliContext,
  cluster: Cluster,
  flags: InstallFlags,
): Promise<InstallOptions> => {
  const installed = await findInstallation(cluster);
  refuseDowngrade(cluster, installed);
  const clusterName = nameOf(flags, installed);
  const image = imageOf(cli, flags, installed);
  await refuseRenaming(cluster, clusterName, installed);
  const kept = await keptOptions(cluster);
  const evidence = await gatherCidrEvidence(cluster.client, cli.signal);
  const { pods, services } = planCIDRs(flags, evidence, kept.cidrs);
  cli.steps.say(
    `Pods ${pods.cidrs.join(', ')} (from ${pods.source}), Services ${services.cidrs.join(', ')} (from ${services.source})`,
  );
  if (pods.isGuess) {
    cli.steps.warn('The pod range is a guess: give --pod-cidr if it is another.');
  }
  const externalCIDR = flags.externalCidr ?? kept.cidrs.externalCidr;
  const viewPools = flags.viewPool ?? kept.cidrs.viewPool;
  const endpoints = flags.peeringEndpoint ?? kept.endpoints;
  const wrong = endpoints.find((endpoint) => !Endpoint.safeParse(endpoint).success);
  if (wrong !== undefined) {
    throw usageError(
      `"${wrong}" is not an endpoint`,
      'write host:port, e.g. --peering-endpoint peering.example.org:443',
    );
  }
  const objectStore = await planObjectStore(cluster.client, cli.env, flags);
  if (objectStore?.embedded !== undefined && objectStore.embedded.size === undefined) {
    cli.steps.warn(
      'The embedded object store keeps copies only as long as its pod lives: give --object-store-size to keep them on a volume.',
    );
  }
  return {
    clusterName,
    image,
    version: VERSION,
    podCIDRs: pods.cidrs,
    serviceCIDRs: services.cidrs,
    ...(externalCIDR === undefined ? {} : { externalCIDR }),
    ...(viewPools === undefined ? {} : { viewPools }),
    ...(endpoints.length === 0 ? {} : { peeringEndpoints: endpoints }),
    ...(objectStore === undefined ? {} : { objectStore }),
    hasMutatingPolicies: await servesMutatingPolicies(cluster),
  };
};

const install = async (cli: CliContext, flags: InstallFlags): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    const options = await planOptions(cli, cluster, flags);
    const stages = installStages(options);
    if (flags.dryRun === true) {
      cli.terminal.out(toYaml(...stages.flatMap((stage) => stage.objects)));
      return;
    }
    await applyStages(cluster.client, stages, cli.steps, cli.signal);
    if (flags.wait) {
      await cli.steps.run('Agents and controllers are Ready', (note) =>
        waitUntil(() => rolloutProgress(cluster.client), {
          what: 'agents and controllers',
          timeoutMs: flags.timeout,
          signal: cli.signal,
          note,
          hint: 'look: kubectl -n fluvia-system get pods; running the command again goes on from here',
        }),
      );
    }
    const daemonSets = await cluster.client.list<DaemonSetView>(DAEMON_SET);
    const warnings = daemonSetWarnings(daemonSets.items, options.hasMutatingPolicies !== false);
    warnings.forEach((text) => cli.steps.warn(text));
    cli.terminal.out(`Fluvia is installed in "${options.clusterName}".\n`);
  });

/** `fluviactl install`. */
export const registerInstall = (program: Command, cli: CliContext): void => {
  withClusterFlags(program.command('install').description('install Fluvia into a cluster, or upgrade it'))
    .option('--cluster-name <name>', "the cluster's name, unique among its peers (default: as installed)")
    .option('--image <image>', 'image of Fluvia (default: $FLUVIA_IMAGE, else as installed)')
    .option('--pod-cidr <cidr>', 'pod range, repeatable (default: detected)', repeatable)
    .option('--service-cidr <cidr>', 'Service range, repeatable (default: detected)', repeatable)
    .option('--external-cidr <cidr>', "range of the nodes' external addresses (default: 10.70.0.0/16)")
    .option(
      '--view-pool <cidr>',
      'range that views of peers are taken from, repeatable (default: 10.128.0.0/9)',
      repeatable,
    )
    .option(
      '--peering-endpoint <host:port>',
      'where peers reach this cluster, repeatable (default: node port)',
      repeatable,
    )
    .option(
      '--object-store [kind]',
      'hold copies of volumes for peers, in an S3 server that is installed with it (embedded)',
    )
    .option(
      '--s3-secret <name>',
      'the same in an S3 of your own: Secret in fluvia-system with endpoint, bucket, accessKey, secretKey, region',
    )
    .option(
      '--object-store-size <quantity>',
      'size of the volume of the embedded object store (default: none, it keeps its data in its pod)',
    )
    .option('--object-store-class <name>', "StorageClass of that volume (default: the cluster's)")
    .option(
      '--object-store-image <image>',
      'image of the embedded object store (default: $FLUVIA_OBJECT_STORE_IMAGE, else as installed)',
    )
    .addOption(new Option('--wait', 'wait until agents and controllers are Ready').default(true))
    .option('--no-wait', 'return once everything is applied')
    .option('--timeout <duration>', 'how long to wait', seconds, 180_000)
    .option('--dry-run', 'print the manifest and change nothing')
    .action((flags: InstallFlags) => install(cli, flags));
};
