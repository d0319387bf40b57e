/** Plays a cluster's provisioner and its kubelets for volumes, on a control plane that has neither. */
import * as resources from '../../runtime/kube/resources.ts';
import type { Job, PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { until, type StorageStage } from './storage-stage.ts';

const PROVISIONER = 'test.fluvia.dev/disk';
const SELECTED_NODE = 'volume.kubernetes.io/selected-node';

export interface FakeProvisioner {
  /** Names of the volumes that were deleted with all they held. */
  readonly destroyed: readonly string[];
  stop(): void;
}

/**
 * Makes the default class `disk` and a volume on the chosen node for each claim of it; deletes what is released and not to
 * be retained, as external-provisioner does.
 */
export const startProvisioner = async ({ admin }: Pick<StorageStage, 'admin'>): Promise<FakeProvisioner> => {
  await admin.create(resources.STORAGE_CLASS, {
    metadata: { name: 'disk', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
    provisioner: PROVISIONER,
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Delete',
  } as never);
  const destroyed: string[] = [];
  const stop = new AbortController();
  const provision = async (claim: PersistentVolumeClaim): Promise<void> => {
    const { annotations = {}, name, namespace, uid } = claim.metadata;
    const node = annotations[SELECTED_NODE];
    if (node === undefined || (claim.spec.volumeName ?? '') !== '') return;
    await admin
      .create(resources.PERSISTENT_VOLUME, {
        metadata: {
          name: `disk-${uid ?? ''}`,
          annotations: { 'pv.kubernetes.io/provisioned-by': PROVISIONER },
        },
        spec: {
          storageClassName: 'disk',
          persistentVolumeReclaimPolicy: 'Delete',
          capacity: claim.spec.resources?.requests,
          accessModes: claim.spec.accessModes,
          claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
          local: { path: `/disk/${uid ?? ''}` },
          nodeAffinity: {
            required: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] },
              ],
            },
          },
        },
      } as never)
      .catch(() => undefined);
  };
  const reclaim = async (volume: PersistentVolume): Promise<void> => {
    const isOurs = volume.metadata.annotations?.['pv.kubernetes.io/provisioned-by'] === PROVISIONER;
    const isReleased = volume.status?.phase === 'Released';
    if (!isOurs || !isReleased || volume.spec.persistentVolumeReclaimPolicy !== 'Delete') return;
    destroyed.push(volume.metadata.name);
    await admin.delete(resources.PERSISTENT_VOLUME, volume.metadata.name);
  };
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const claims = await admin.list<PersistentVolumeClaim>(resources.PERSISTENT_VOLUME_CLAIM);
      for (const claim of claims.items.filter(({ spec }) => spec.storageClassName === 'disk'))
        await provision(claim);
      const volumes = await admin.list<PersistentVolume>(resources.PERSISTENT_VOLUME);
      for (const volume of volumes.items) await reclaim(volume);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  run().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return {
    destroyed,
    stop: () => {
      stop.abort();
    },
  };
};

/** The mover Job of an action in `fluvia-volumes`, once it is there, with its pod. */
export const moverOf = async (
  { admin }: StorageStage,
  action: string,
  isNew: (job: Job) => boolean = () => true,
): Promise<{ readonly job: Job; readonly pod: Pod }> => {
  const jobs = async (): Promise<Job | undefined> =>
    (await admin.list<Job>(resources.JOB, { namespace: 'fluvia-volumes' })).items.find(
      (job) =>
        (job.metadata.annotations?.['fluvia.dev/transfer-id'] ?? '').includes(`-${action}-`) &&
        job.metadata.deletionTimestamp === undefined &&
        isNew(job),
    );
  await until(`a mover for ${action} is there`, async () => (await jobs()) !== undefined, 40_000);
  const job = await jobs();
  if (job === undefined) throw new Error('the mover went');
  const podOf = async (): Promise<Pod | undefined> =>
    (
      await admin.list<Pod>(resources.POD, {
        namespace: 'fluvia-volumes',
        labelSelector: `batch.kubernetes.io/job-name=${job.metadata.name}`,
      })
    ).items[0];
  await until('it has a pod on a node', async () => (await podOf())?.spec.nodeName !== undefined, 40_000);
  const pod = await podOf();
  if (pod === undefined) throw new Error("the mover's pod went");
  return { job, pod };
};

/** Ends a mover's pod as a kubelet would, with what the mover said. */
export const endMover = async ({ admin }: StorageStage, pod: Pod, said: object): Promise<void> => {
  const time = new Date().toISOString();
  const status = {
    phase: 'Succeeded',
    containerStatuses: [
      {
        name: 'mover',
        image: 'fluvia:test',
        imageID: 'x',
        ready: false,
        restartCount: 0,
        state: {
          terminated: {
            exitCode: 0,
            message: JSON.stringify({ ok: true, result: said }),
            startedAt: time,
            finishedAt: time,
          },
        },
      },
    ],
  };
  await admin.patch(
    resources.POD,
    pod.metadata.name,
    pod.metadata.namespace,
    { status },
    { type: 'merge', subresource: 'status' },
  );
};
