/** The Job and Secret of one transfer, and what is said of it. Pure. */
import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import { TRANSFER_STATUS, type TRANSFERS } from '../../api/storage-collections.ts';
import { STORAGE_ANNOTATIONS, STORAGE_LABELS } from '../../api/storage-names.ts';
import type { Job } from '../../runtime/kube/storage-types.ts';
import type { KubeObject, Pod } from '../../runtime/kube/types.ts';
import { MoverResult, TRANSFER_FOLDER, VOLUME_FOLDER, type MoverProgress } from './transfer-file.ts';

export type TransferItem = ItemOf<typeof TRANSFERS>;
export type TransferStatus = ItemOf<typeof TRANSFER_STATUS>;

/** Where the objects of a transfer go. */
export interface TransferPlace {
  readonly clusterID: string;
  readonly transferID: string;
  /** Name of the Job and the Secret; also the value of their label. */
  readonly name: string;
  readonly twin: string;
  /** The volume's claim there. */
  readonly claimName: string;
  readonly image: string;
  /** The store's address as this cluster reaches it. */
  readonly storeAddress: string;
}

const metaOf = ({ clusterID, transferID, name, twin }: TransferPlace, item: TransferItem) => ({
  name,
  namespace: twin,
  labels: {
    [LABELS.managedBy]: MANAGED_BY,
    [STORAGE_LABELS.transfer]: name,
    [STORAGE_LABELS.volume]: item.volume,
  },
  annotations: { [STORAGE_ANNOTATIONS.transferID]: `${clusterID}/${transferID}` },
});

/** Order and secrets of a transfer, as files. */
export const transferSecret = (place: TransferPlace, item: TransferItem): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: metaOf(place, item),
  type: 'Opaque',
  stringData: {
    'transfer.json': JSON.stringify({
      action: item.action,
      volume: item.volume,
      epoch: item.epoch,
      sequence: item.sequence,
      snapshotID: item.snapshotID,
      treeHash: item.treeHash,
      parentSnapshotID: item.parentSnapshotID,
      writerStopped: item.writerStopped,
      keep: item.keep,
      mayBeEmpty: item.mayBeEmpty,
      salvage: item.salvage,
      salvageSince: item.salvageSince,
      repository: `https://${item.store.serverName}:${item.store.port}${item.store.path}`,
    }),
    token: item.token,
    key: item.key,
    'ca.crt': item.store.caCertificate,
  },
});

/** Files of any owner are read and made; nothing else of root is needed. Baseline allows these. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETFCAP', 'MKNOD'] as const;

/** The mover's Job: beside the volume, so that it lands on the node that has it; the first to use a new one. */
export const transferJob = (place: TransferPlace, item: TransferItem): Job => {
  const meta = metaOf(place, item);
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: meta,
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      activeDeadlineSeconds: item.deadlineSeconds,
      template: {
        metadata: { labels: meta.labels, annotations: meta.annotations },
        spec: {
          restartPolicy: 'Never',
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 15,
          hostAliases: [{ ip: place.storeAddress, hostnames: [item.store.serverName] }],
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: {
                nodeSelectorTerms: [
                  { matchExpressions: [{ key: LABELS.virtualNode, operator: 'DoesNotExist' }] },
                ],
              },
            },
          },
          containers: [
            {
              name: 'mover',
              image: place.image,
              imagePullPolicy: 'IfNotPresent',
              command: ['/bin/fluviad', 'mover'],
              terminationMessagePolicy: 'File',
              securityContext: {
                runAsUser: 0,
                runAsGroup: 0,
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'], add: CAPABILITIES },
                seccompProfile: { type: 'RuntimeDefault' },
              },
              resources: { requests: { cpu: '20m', memory: '64Mi' } },
              volumeMounts: [
                { name: 'volume', mountPath: VOLUME_FOLDER },
                { name: 'transfer', mountPath: TRANSFER_FOLDER, readOnly: true },
                { name: 'work', mountPath: '/tmp' },
              ],
            },
          ],
          volumes: [
            { name: 'volume', persistentVolumeClaim: { claimName: place.claimName } },
            { name: 'transfer', secret: { secretName: place.name, defaultMode: 0o400 } },
            { name: 'work', emptyDir: {} },
          ],
        },
      },
    },
  };
};

/** Reason of a mover that is Pending because others run: home waits for its turn, however long that takes. */
export const QUEUED = 'Queued';

/** A pod besides the movers that may still write to a claim, of those in its namespace: whoever is deleted by force at home has its grace here. */
export const writerOf = (claimName: string, pods: readonly Pod[]): Pod | undefined =>
  pods.find(
    ({ metadata, spec, status }) =>
      metadata.labels?.[STORAGE_LABELS.transfer] === undefined &&
      !['Succeeded', 'Failed'].includes(status?.phase ?? '') &&
      spec.volumes?.some(({ persistentVolumeClaim: claim }) => claim?.claimName === claimName) === true,
  );

/** Copies of one consumer at once: movers are beside its grant, and so must be few. */
const MOST_COPIES = 8;

/** How many movers of one consumer may run at once where this one is to begin; a restore, which pods wait for, finds room. */
export const mostMovers = (action: TransferItem['action']): number =>
  action === 'restore' ? 2 * MOST_COPIES : MOST_COPIES;

const holds = ({ status }: Job, condition: string): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === condition && is === 'True') ?? false;

/** Whether a Job has ended, well or not. */
export const isEnded = (job: Job): boolean => holds(job, 'Complete') || holds(job, 'Failed');

const failed = (reason: string, message: string): TransferStatus => ({
  phase: 'Failed',
  reason: reason.slice(0, 128),
  message: message.slice(0, 1024),
});

const Result = TRANSFER_STATUS.schema.shape.result;

/** What a mover said at its end, from its pod; its exit code must bear it out. */
const moverResultOf = (pod: Pod): MoverResult | undefined => {
  const mover = pod.status?.containerStatuses?.find(({ name }) => name === 'mover');
  const { message, exitCode } = mover?.state?.terminated ?? {};
  if (message === undefined) return undefined;
  try {
    const { data } = MoverResult.safeParse(JSON.parse(message));
    return data?.ok === true && exitCode !== 0 ? undefined : data;
  } catch {
    return undefined;
  }
};

const succeeded = (action: TransferItem['action'], said: unknown): TransferStatus => {
  if (action !== 'backup') return { phase: 'Succeeded' };
  const result = Result.safeParse(said);
  return result.success && result.data !== undefined
    ? { phase: 'Succeeded', result: result.data }
    : failed('BadResult', "the mover's result is not understood");
};

const waitingReason = (pod: Pod): string | undefined => {
  const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
  if (waiting?.reason !== undefined && waiting.reason !== 'ContainerCreating')
    return `${waiting.reason}${waiting.message === undefined ? '' : `: ${waiting.message}`}`;
  return pod.status?.conditions?.find((c) => c.type === 'PodScheduled' && c.status === 'False')?.message;
};

/** What is told to home of a transfer whose Job exists. */
export const transferStatus = (
  action: TransferItem['action'],
  job: Job,
  pods: readonly Pod[],
  progress: MoverProgress | undefined,
): TransferStatus => {
  const pod = pods[0];
  const said = pods.map(moverResultOf).find((result) => result !== undefined);
  // Its own word comes seconds before the Job's.
  if (said !== undefined) return said.ok ? succeeded(action, said.result) : failed(said.reason, said.message);
  if (holds(job, 'Complete') || job.status?.succeeded === 1)
    return failed('NoResult', 'the mover ended without a result');
  if (holds(job, 'Failed') || holds(job, 'FailureTarget')) {
    const condition = job.status?.conditions?.find((c) => c.type === 'Failed' || c.type === 'FailureTarget');
    const state = pod?.status?.containerStatuses?.[0]?.state?.terminated;
    return failed(
      condition?.reason ?? 'JobFailed',
      state === undefined
        ? (condition?.message ?? 'the mover failed')
        : `the mover ended with code ${state.exitCode} (${state.reason ?? ''})`,
    );
  }
  if (pod?.status?.phase === 'Running') {
    return {
      phase: 'Running',
      ...(progress === undefined ? {} : { bytesDone: progress.done, bytesTotal: progress.total }),
    };
  }
  const why = pod === undefined ? undefined : waitingReason(pod);
  return { phase: 'Pending', ...(why === undefined ? {} : { message: why.slice(0, 1024) }) };
};
