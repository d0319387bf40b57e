import type { Command } from 'commander';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { HOME_PLACE, MOVE_ABORT } from '../../api/places.ts';
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
  readonly to?: string;
  readonly abort: boolean;
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
    `wait until that has ended, then try again; --to ${to} follows it, --abort takes it back`,
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
    const delay =
      progress?.stage === note.stage && progress.message !== undefined
        ? `, which waits: ${progress.message}`
        : '';
    const trouble =
      note.failures === 0 || note.message === undefined ? '' : `, tried again after: ${note.message}`;
    return { waitingFor: `${STAGES[note.stage]}${share}${delay}${trouble}` };
  }
  const isNews = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.lastMove] !== before;
  const end = isNews ? moveEndOf(volume) : undefined;
  if (end !== undefined && nameOf(end.to) !== to)
    throw underWay(name, { from: nameOf(end.from), to: nameOf(end.to) });
  return end === undefined ? { waitingFor: 'the controller to see it' } : { done: end };
};

/** Writes a person's wish onto the claim. */
const wish = async (
  cluster: Cluster,
  { metadata: { name, namespace, uid } }: PersistentVolumeClaim,
  to: string,
  signal: AbortSignal,
): Promise<void> => {
  const body = { metadata: { uid, annotations: { [STORAGE_ANNOTATIONS.moveTo]: to } } };
  await cluster.client.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, body, {
    type: 'merge',
    fieldManager: FIELD_MANAGER,
    signal,
  });
};

/** How a move ends that is to be taken back. */
const abortOf = async (
  { client }: Cluster,
  { metadata: { name, namespace } }: PersistentVolumeClaim,
  volumeName: string,
): Promise<Progress<MoveEnd>> => {
  // The wish first: once it is gone the answer stands on the volume.
  const claim = await client.get<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, name, namespace);
  const volume = await client.get<PersistentVolume>(PERSISTENT_VOLUME, volumeName);
  const note = volume === undefined ? undefined : moveNoteOf(volume);
  const end = volume === undefined ? undefined : moveEndOf(volume);
  if (note === undefined && end !== undefined) return { done: end };
  const isWished = claim?.metadata.annotations?.[STORAGE_ANNOTATIONS.moveTo] !== undefined;
  if (note !== undefined && note.isTakenBack !== true && !isWished)
    throw terminal(
      ERROR_CODES.CONFLICT,
      `the move of claim ${name} can't be taken back: it goes on`,
      `look why: kubectl -n ${namespace ?? ''} describe pvc ${name}`,
    );
  return { waitingFor: 'the controller to take it back' };
};

const abortMove = async (cli: CliContext, name: string, flags: MoveFlags): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    const { clusterName } = await requireInstallation(cluster);
    const { claim, volume } = await volumeOf(cluster, name, flags.namespace);
    const nameOf = (place: string): string => (place === HOME_PLACE ? clusterName : place);
    const note = moveNoteOf(volume);
    if (note === undefined)
      throw terminal(
        ERROR_CODES.CONFLICT,
        `the volume of claim ${name} is not being moved`,
        `look where it is: kubectl -n ${flags.namespace} describe pvc ${name}`,
      );
    await wish(cluster, claim, MOVE_ABORT, cli.signal);
    if (!flags.wait) {
      cli.terminal.out(`Volume of claim ${name} is to stay at ${nameOf(note.from)}.\n`);
      return;
    }
    const end = await cli.steps.run(`Move of claim ${name} to ${nameOf(note.to)} is taken back`, (say) =>
      waitUntil(() => abortOf(cluster, claim, volume.metadata.name), {
        what: `taking back the move of claim ${name}`,
        timeoutMs: flags.timeout,
        signal: cli.signal,
        note: say,
        hint: `look: kubectl -n ${flags.namespace} describe pvc ${name}`,
      }),
    );
    if (end.ok)
      throw terminal(
        ERROR_CODES.CONFLICT,
        `it had ended before: the volume is at ${nameOf(end.to)}`,
        `to have it back: fluviactl move volume ${name} -n ${flags.namespace} --to ${nameOf(note.from)}`,
      );
    cli.terminal.out(`The volume stays at ${nameOf(end.from)}: ${end.message}.\n`);
  });

const moveVolume = async (cli: CliContext, name: string, flags: MoveFlags, to: string): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    const { clusterName } = await requireInstallation(cluster);
    const { claim, volume } = await volumeOf(cluster, name, flags.namespace);
    const nameOf = (place: string): string => (place === HOME_PLACE ? clusterName : place);
    const location = nameOf(volume.metadata.annotations?.[STORAGE_ANNOTATIONS.location] ?? '');
    const note = moveNoteOf(volume);
    if (note !== undefined && nameOf(note.to) !== to)
      throw underWay(name, { from: nameOf(note.from), to: nameOf(note.to) });
    if (note === undefined && location === to)
      throw terminal(
        ERROR_CODES.BAD_INPUT,
        `the volume of claim ${name} is at ${to} already`,
        'name another peer: kubectl get peers',
      );
    const before = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.lastMove];
    if (note === undefined) {
      await requirePlace(cluster, to, clusterName);
      await wish(cluster, claim, to, cli.signal);
    }
    if (!flags.wait) {
      cli.terminal.out(`Volume of claim ${name} is to move to ${to}.\n`);
      return;
    }
    const end = await cli.steps.run(`Volume of claim ${name} is moved from ${location} to ${to}`, (say) =>
      waitUntil(() => progressOf(cluster, claim, volume.metadata.name, before, to, nameOf), {
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
    .option('--to <peer>', "peer that it goes to, or this cluster's own name")
    .option('--abort', 'take back the move that is under way: the volume stays where it was', false)
    .option('-n, --namespace <name>', 'namespace of the claim', 'default')
    .option('--no-wait', 'return at once')
    .option('--timeout <duration>', 'how long to wait', seconds, 3_600_000)
    .action(async (name: string, flags: MoveFlags) => {
      if (flags.abort && flags.to === undefined) return abortMove(cli, name, flags);
      if (flags.to !== undefined && !flags.abort) return moveVolume(cli, name, flags, flags.to);
      throw terminal(
        ERROR_CODES.BAD_INPUT,
        flags.abort ? '--to and --abort can not go together' : 'where it goes is missing',
        'give --to PEER to move it, or --abort to take back the move that is under way',
      );
    });
};
