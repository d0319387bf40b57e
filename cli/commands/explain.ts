import type { Command } from 'commander';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { FLOAT_GATE, NAMES } from '../../api/labels.ts';
import type { NamespaceOffloading } from '../../api/v1alpha1/namespace-offloading.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import type { VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { claimNames, judgeClaims } from '../../offloading/consumer/plan-claims.ts';
import {
  planExplanation,
  type Explanation,
  type ExplainWorld,
} from '../../offloading/consumer/plan-explain.ts';
import { whyNotFloatable } from '../../offloading/consumer/plan-floatable.ts';
import {
  PERSISTENT_VOLUME,
  PERSISTENT_VOLUME_CLAIM,
  POD,
  STORAGE_CLASS,
} from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import {
  withCluster,
  withClusterFlags,
  type CliContext,
  type Cluster,
  type ClusterFlags,
} from '../context.ts';
import { usageError } from '../exit.ts';
import { requireInstallation } from '../installation.ts';
import { formatData, parseOutput } from '../output/data.ts';
import { explanationTree } from '../output/explanation.ts';
import { formatTree } from '../output/tree.ts';
import { planVolumes, volumeLine, volumeProblems } from '../plan-volumes.ts';

interface ExplainFlags extends ClusterFlags {
  readonly output?: string;
}

const parsePodName = (text: string): readonly [namespace: string, name: string] => {
  const match = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/.exec(text);
  if (match === null) {
    throw usageError(`"${text.slice(0, 100)}" names no pod`, 'write NAMESPACE/NAME, e.g. shop/web-0');
  }
  return [match[1] ?? '', match[2] ?? ''];
};

/** What its claims mean for the pod, by the same rules as the leader. */
const judge = async (
  { client }: Cluster,
  pod: Pod,
  signal: AbortSignal,
): Promise<Pick<ExplainWorld, 'stays' | 'waits' | 'volumes'>> => {
  const { namespace } = pod.metadata;
  const claims = new Map<string, PersistentVolumeClaim>();
  const volumes = new Map<string, PersistentVolume>();
  for (const name of claimNames(pod.spec)) {
    const claim = await client.get<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, name, namespace, {
      signal,
    });
    if (claim === undefined) continue;
    claims.set(name, claim);
    const { volumeName } = claim.spec;
    const volume = volumeName
      ? await client.get<PersistentVolume>(PERSISTENT_VOLUME, volumeName, undefined, { signal })
      : undefined;
    if (volume !== undefined) volumes.set(volume.metadata.name, volume);
  }
  const items = claims.size === 0 ? [] : (await client.list(STORAGE_CLASS, { signal })).items;
  const classes = new Set(items.map(({ metadata }) => metadata.name));
  const { floating, stays, waits } = judgeClaims(pod.spec, {
    claim: (name) => claims.get(name),
    volume: (name) => volumes.get(name),
    // only where a new volume may be made asks for it
    hasHomeClass: () => true,
    hasClass: (name) => classes.has(name),
    now: () => Date.now(),
  });
  const replicas =
    floating.size === 0 ? [] : (await client.list(fluviaRef('VolumeReplica'), { namespace, signal })).items;
  const known = planVolumes(
    [...claims.values()],
    [...volumes.values()],
    replicas as unknown as VolumeReplica[],
  );
  return {
    stays: stays ?? whyNotFloatable(pod, floating),
    waits,
    volumes: known.flatMap((volume) => [
      `volume of claim ${volume.claim}: ${volumeLine(volume, Date.now())}`,
      ...volumeProblems(volume),
    ]),
  };
};

const gather = async (cluster: Cluster, text: string, signal: AbortSignal): Promise<Explanation> => {
  const [namespace, name] = parsePodName(text);
  await requireInstallation(cluster);
  const { client, flag } = cluster;
  const pod = await client.get<Pod>(POD, name, namespace, { signal });
  if (pod === undefined) {
    throw new FluviaError(ERROR_CODES.NOT_FOUND, `there is no pod ${namespace}/${name}`, {
      kind: 'terminal',
      hint: `list them: kubectl${flag} -n ${namespace} get pods`,
    });
  }
  const [offloading, virtualNodes, judged] = await Promise.all([
    client.get(fluviaRef('NamespaceOffloading'), NAMES.namespaceOffloading, namespace, { signal }),
    client.list(fluviaRef('VirtualNode'), { signal }),
    judge(cluster, pod, signal),
  ]);
  const nodes = virtualNodes.items as unknown as readonly VirtualNode[];
  return planExplanation({
    pod,
    isGated: pod.spec.schedulingGates?.some((gate) => gate.name === FLOAT_GATE) ?? false,
    offloading: offloading as NamespaceOffloading | undefined,
    peerOfNode: (node) => nodes.find(({ metadata }) => metadata.name === node)?.spec.peer,
    ...judged,
  });
};

const explainPod = async (cli: CliContext, pod: string, flags: ExplainFlags): Promise<void> => {
  const format = parseOutput(flags.output, ['text', 'json', 'yaml']);
  parsePodName(pod);
  const data = await withCluster(cli, flags, (cluster) => gather(cluster, pod, cli.signal));
  cli.terminal.out(
    format === 'json' || format === 'yaml' ? formatData(data, format) : formatTree(explanationTree(data)),
  );
};

/** `fluviactl explain pod NAMESPACE/NAME`. */
export const registerExplain = (program: Command, cli: CliContext): void => {
  const explain = program.command('explain').description('say why something is where it is');
  withClusterFlags(explain.command('pod').description('why a pod runs where it does, or why nowhere'))
    .argument('<pod>', 'NAMESPACE/NAME')
    .option('-o, --output <format>', 'json or yaml')
    .action((pod: string, flags: ExplainFlags) => explainPod(cli, pod, flags));
};
