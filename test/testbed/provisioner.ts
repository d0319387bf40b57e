/** A real provisioner: local-path on the node's btrfs disk, a subvolume for each volume; its class is the default. */

const NAMESPACE = 'kube-system';
const NAME = 'local-path-provisioner';
const metadata = { name: NAME, namespace: NAMESPACE };
const rbac = 'rbac.authorization.k8s.io';

/** Where the node's disk is mounted, see `node-init.sh`. */
const DISK = '/var/lib/fluvia-volumes';

const SETUP = `#!/bin/sh
set -eu
[ -d "$VOL_DIR" ] || btrfs subvolume create "$VOL_DIR"
chmod 0777 "$VOL_DIR"
`;

const TEARDOWN = `#!/bin/sh
set -eu
[ -d "$VOL_DIR" ] || exit 0
for snapshot in "$VOL_DIR"/.fluvia-*; do
  [ -d "$snapshot" ] && btrfs property set -f "$snapshot" ro false || true
done
rm -rf "$VOL_DIR"
`;

const HELPER_POD = `apiVersion: v1
kind: Pod
metadata:
  name: helper-pod
spec:
  terminationGracePeriodSeconds: 1
  tolerations:
    - operator: Exists
      effect: NoSchedule
      key: node.kubernetes.io/disk-pressure
  containers:
    - name: helper-pod
      image: fluvia.local/volume-helper:1
      imagePullPolicy: IfNotPresent
      securityContext:
        privileged: true
`;

const clusterRules = [
  {
    apiGroups: [''],
    resources: ['nodes', 'persistentvolumeclaims', 'configmaps', 'pods', 'pods/log'],
    verbs: ['get', 'list', 'watch'],
  },
  {
    apiGroups: [''],
    resources: ['persistentvolumes'],
    verbs: ['get', 'list', 'watch', 'create', 'patch', 'update', 'delete'],
  },
  { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
  { apiGroups: ['storage.k8s.io'], resources: ['storageclasses'], verbs: ['get', 'list', 'watch'] },
];
const podRules = [
  {
    apiGroups: [''],
    resources: ['pods'],
    verbs: ['get', 'list', 'watch', 'create', 'patch', 'update', 'delete'],
  },
];
const subjects = [{ kind: 'ServiceAccount', name: NAME, namespace: NAMESPACE }];

const pod = {
  serviceAccountName: NAME,
  terminationGracePeriodSeconds: 1,
  containers: [
    {
      name: NAME,
      image: 'fluvia.local/local-path:1',
      imagePullPolicy: 'IfNotPresent',
      args: [
        'start',
        '--config=/etc/config/config.json',
        `--service-account-name=${NAME}`,
        '--helper-image=fluvia.local/volume-helper:1',
        '--helper-pod-file=/etc/config/helperPod.yaml',
      ],
      env: [
        { name: 'CONFIG_MOUNT_PATH', value: '/etc/config/' },
        { name: 'POD_NAMESPACE', value: NAMESPACE },
      ],
      resources: { requests: { cpu: '10m', memory: '32Mi' } },
      volumeMounts: [{ name: 'config', mountPath: '/etc/config/' }],
    },
  ],
  volumes: [{ name: 'config', configMap: { name: 'local-path-config' } }],
};

/** Path at the API → object, in the order of their making. */
export const provisionerObjects: readonly (readonly [path: string, object: unknown])[] = [
  [
    `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${NAME}`,
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
  ],
  [
    `/apis/${rbac}/v1/clusterroles/${NAME}`,
    { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: NAME }, rules: clusterRules },
  ],
  [
    `/apis/${rbac}/v1/clusterrolebindings/${NAME}`,
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: NAME },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: NAME },
      subjects,
    },
  ],
  [
    `/apis/${rbac}/v1/namespaces/${NAMESPACE}/roles/${NAME}`,
    { apiVersion: `${rbac}/v1`, kind: 'Role', metadata, rules: podRules },
  ],
  [
    `/apis/${rbac}/v1/namespaces/${NAMESPACE}/rolebindings/${NAME}`,
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: rbac, kind: 'Role', name: NAME },
      subjects,
    },
  ],
  [
    `/api/v1/namespaces/${NAMESPACE}/configmaps/local-path-config`,
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'local-path-config', namespace: NAMESPACE },
      data: {
        'config.json': JSON.stringify({
          nodePathMap: [{ node: 'DEFAULT_PATH_FOR_NON_LISTED_NODES', paths: [DISK] }],
        }),
        setup: SETUP,
        teardown: TEARDOWN,
        'helperPod.yaml': HELPER_POD,
      },
    },
  ],
  [
    '/apis/storage.k8s.io/v1/storageclasses/local-path',
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: {
        name: 'local-path',
        annotations: {
          'storageclass.kubernetes.io/is-default-class': 'true',
          // kubelet applies fsGroup to local volumes, not to hostPath ones
          defaultVolumeType: 'local',
        },
      },
      provisioner: 'rancher.io/local-path',
      volumeBindingMode: 'WaitForFirstConsumer',
      reclaimPolicy: 'Delete',
    },
  ],
  [
    `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${NAME}`,
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: NAME } },
        template: { metadata: { labels: { app: NAME } }, spec: pod },
      },
    },
  ],
];
