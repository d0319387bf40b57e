import type { Command } from 'commander';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { HOME_PLACE } from '../../api/places.ts';
import { STORAGE_ANNOTATIONS, STORAGE_CLASS } from '../../api/storage-names.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import {
  moveEndOf,
  moveNoteOf,
  moveProgressOf,
  type MoveEnd,
} from '../../storage-fabric/replica/move-note.ts';
import { FIELD_MANAGER } from '../apply-stages.ts';
import {
  withCluster,
  withClusterFlags,
  type CliContext,
  type Cluster,
  type ClusterFlags,
} from '../context.ts';
import { seconds } from '../flags.ts';
import { requireInstallation } from '../installation.ts';
import { waitUntil, type Progress } from '../wait.ts';

interface MoveFlags extends ClusterFlags {
  readonly namespace: string;
  readonly to: string;
  readonly wait: boolean;
  readonly timeout: number;
}

const STAGES = {
  salvage: 'what the peer wrote before it was lost to be kept',
  stop: 'its pods to end',
  copy: 'the last delta to be copied',
  restore: 'the copy to be restored',
} as const;

const terminal = (
  code: (typeof ERROR_CODES)[keyof typeof ERROR_CODES],
  message: string,
  hint: string,
): FluviaError => new FluviaError(code, message, { kind: 'terminal', hint });

const volumeOf = async (
  { client }: Cluster,
  name: string,
  namespace: string,
): Promise<{ readonly claim: PersistentVolumeClaim; readonly volume: PersistentVolume }> => {
  const claim = await client.get<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, name, namespace);
  if (claim === undefined)
    throw terminal(
      ERROR_CODES.NOT_FOUND,
      `there is no PersistentVolumeClaim ${name} in namespace ${namespace}`,
      `look: kubectl -n ${namespace} get pvc`,
    );
  if (claim.spec.storageClassName !== STORAGE_CLASS)
    throw terminal(
      ERROR_CODES.BAD_INPUT,
      `claim ${name} is of class ${claim.spec.storageClassName ?? '(none)'}`,
      `only volumes of class ${STORAGE_CLASS} can be moved`,
    );
  const { volumeName } = claim.spec;
  const volume =
    volumeName === undefined ? undefined : await client.get<PersistentVolume>(PERSISTENT_VOLUME, volumeName);
  if (volume === undefined)
    throw terminal(
      ERROR_CODES.BAD_INPUT,
      `claim ${name} has no volume yet`,
      'it is made with the first pod that uses it: start one',
    );
  return { claim, volume };
};

/** A name that no peer has is no place; this cluster's own is judged by the controller. */
const requirePlace = async ({ client, source }: Cluster, to: string, own: string): Promise<void> => {
  const known = (await client.list(fluviaRef('Peer'))).items.map(({ metadata }) => metadata.name);
  if (to === own || known.includes(to)) return;
  throw terminal(
    ERROR_CODES.NOT_PEERED,
    `there is no peer "${to}" (${source})`,
    known.length === 0 ? 'this cluster has no peers: fluviactl peer' : `peers are: ${known.join(', ')}`,
  );
};

const underWay = (claim: string, { from, to }: { readonly from: string; readonly to: string }): FluviaError =>
  terminal(
    ERROR_CODES.CONFLICT,
    `the volume of claim ${claim} is being moved from ${from} to ${to}`,
    `wait until that has ended, then try again; --to ${to} follows it`,
  );

const percent = (done: number, total: number): string =>
  total === 0 ? '' : ` (${Math.min(100, Math.floor((100 * done) / total))} %)`;

/** The move of a claim's volume to the place called `to`; `before` tells its end from that of an earlier one. */
const progressOf = async (
  { client }: Cluster,
  { metadata: { name, namespace, uid } }: PersistentVolumeClaim,
  volumeName: string,
  before: string | undefined,
  to: string,
  nameOf: (place: string) => string,
): Promise<Progress<MoveEnd>> => {
  const volume = await client.get<PersistentVolume>(PERSISTENT_VOLUME, volumeName);
  const left =
    volume === undefined
      ? await client.get<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, name, namespace)
      : undefined;
  // Where the volume came home or left, its PersistentVolume is made anew.
  if (left !== undefined && left.metadata.uid === uid)
    return { waitingFor: 'its PersistentVolume to be made anew' };
  if (volume === undefined)
    throw terminal(
      ERROR_CODES.NOT_FOUND,
      'the volume was deleted',
      'its claim is gone: nothing is left to move',
    );
  const note = moveNoteOf(volume);
  if (note !== undefined) {
    // Somebody else's began in the same moment: the controller drops the other wish.
    if (nameOf(note.to) !== to) throw underWay(name, { from: nameOf(note.from), to: nameOf(note.to) });
    const progress = moveProgressOf(volume);
    const share = progress?.stage === note.stage ? percent(progress.done, progress.total) : '';
    const trouble = note.message === undefined ? '' : `, tried again after: ${note.message}`;
    return { waitingFor: `${STAGES[note.stage]}${share}${trouble}` };
  }
  const isNews = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.lastMove] !== before;
  const end = isNews ? moveEndOf(volume) : undefined;
  if (end !== undefined && nameOf(end.to) !== to)
    throw underWay(name, { from: nameOf(end.from), to: nameOf(end.to) });
  return end === undefined ? { waitingFor: 'the controller to see it' } : { done: end };
};

const moveVolume = async (cli: CliContext, name: string, flags: MoveFlags): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    const { clusterName } = await requireInstallation(cluster);
    const { claim, volume } = await volumeOf(cluster, name, flags.namespace);
    const nameOf = (place: string): string => (place === HOME_PLACE ? clusterName : place);
    const location = nameOf(volume.metadata.annotations?.[STORAGE_ANNOTATIONS.location] ?? '');
    const note = moveNoteOf(volume);
    if (note !== undefined && nameOf(note.to) !== flags.to)
      throw underWay(name, { from: nameOf(note.from), to: nameOf(note.to) });
    if (note === undefined && location === flags.to)
      throw terminal(
        ERROR_CODES.BAD_INPUT,
        `the volume of claim ${name} is at ${flags.to} already`,
        'name another peer: kubectl get peers',
      );
    const before = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.lastMove];
    if (note === undefined) {
      await requirePlace(cluster, flags.to, clusterName);
      const body = {
        metadata: { uid: claim.metadata.uid, annotations: { [STORAGE_ANNOTATIONS.moveTo]: flags.to } },
      };
      await cluster.client.patch(PERSISTENT_VOLUME_CLAIM, name, flags.namespace, body, {
        type: 'merge',
        fieldManager: FIELD_MANAGER,
        signal: cli.signal,
      });
    }
    if (!flags.wait) {
      cli.terminal.out(`Volume of claim ${name} is to move to ${flags.to}.\n`);
      return;
    }
    const end = await cli.steps.run(
      `Volume of claim ${name} is moved from ${location} to ${flags.to}`,
      (say) =>
        waitUntil(() => progressOf(cluster, claim, volume.metadata.name, before, flags.to, nameOf), {
          what: `moving the volume of claim ${name}`,
          timeoutMs: flags.timeout,
          signal: cli.signal,
          note: say,
          hint: `it goes on; look: kubectl -n ${flags.namespace} describe pvc ${name}`,
        }),
    );
    if (!end.ok)
      throw terminal(
        ERROR_CODES.CONFLICT,
        `not moved: ${end.message}`,
        `look: kubectl -n ${flags.namespace} describe pvc ${name}; then try again`,
      );
    cli.terminal.out(`The volume is at ${nameOf(end.to)}: ${end.message}.\n`);
  });

/** `fluviactl move volume`. */
export const registerMove = (program: Command, cli: CliContext): void => {
  const moving = program.command('move').description('move something to another peer');
  withClusterFlags(
    moving
      .command('volume')
      .description(
        'move the volume of a claim: its pods stop, the last delta goes, they start again; nothing is lost',
      ),
  )
    .argument('<claim>')
    .requiredOption('--to <peer>', "peer that it goes to, or this cluster's own name")
    .option('-n, --namespace <name>', 'namespace of the claim', 'default')
    .option('--no-wait', 'return at once')
    .option('--timeout <duration>', 'how long to wait', seconds, 3_600_000)
    .action((name: string, flags: MoveFlags) => moveVolume(cli, name, flags));
};
