import { PROVISIONER, STORAGE_CLASS } from '../../api/storage-names.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { meta } from './common.ts';

/** The virtual class: a volume is made where its first pod lands, with that cluster's real class. */
export const storageClass: KubeObject = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: meta(STORAGE_CLASS),
  provisioner: PROVISIONER,
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'WaitForFirstConsumer',
  allowVolumeExpansion: false,
};
