import { NAMES, PORTS, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { fieldEnv, meta, realLinuxNodes, selectorOf } from './common.ts';
import { UNPRIVILEGED_UID } from './controller.ts';
import type { InstallOptions, ObjectStoreOptions } from './options.ts';

/** Where Secret `fluvia-store`, which the leader makes, is mounted in the front. */
const KEYS_FOLDER = '/etc/fluvia-store';
/** Where the object store's own Secret is mounted there, and under which name of the pod's volumes. */
const ACCESS_FOLDER = '/etc/fluvia-object-store';
export const ACCESS_VOLUME = 'object-store';
const DATA_FOLDER = '/data';
const BUCKET = 'fluvia';

const podSecurity = {
  runAsNonRoot: true,
  runAsUser: UNPRIVILEGED_UID,
  runAsGroup: UNPRIVILEGED_UID,
  fsGroup: UNPRIVILEGED_UID,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;
const containerSecurity = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
} as const;

/** What both pods have in common: no token of the API, nothing of the host, never on a node that stands for a peer. */
const podBase = {
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  terminationGracePeriodSeconds: 15,
  securityContext: podSecurity,
  affinity: { nodeAffinity: realLinuxNodes },
} as const;

const secretEnv = (name: string, secret: string, key: string): object => ({
  name,
  valueFrom: { secretKeyRef: { name: secret, key } },
});

const deployment = (name: string, component: string, spec: object): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: meta(name, SYSTEM_NAMESPACE, { labels: selectorOf(component) }),
  spec: {
    replicas: 1,
    revisionHistoryLimit: 2,
    selector: { matchLabels: selectorOf(component) },
    // one at a time: what it writes to has one user
    strategy: { type: 'Recreate' },
    template: { metadata: { labels: selectorOf(component) }, spec },
  },
});

const frontDeployment = (image: string, { secretName, embedded }: ObjectStoreOptions): KubeObject =>
  deployment(NAMES.store, 'store', {
    ...podBase,
    containers: [
      {
        name: 'store',
        image,
        imagePullPolicy: 'IfNotPresent',
        command: ['/bin/fluviad', 'store'],
        env: [
          fieldEnv('POD_NAME', 'metadata.name'),
          { name: 'FLUVIA_STORE_KEYS', value: KEYS_FOLDER },
          { name: 'FLUVIA_S3_ACCESS', value: ACCESS_FOLDER },
          ...(embedded === undefined ? [] : [{ name: 'FLUVIA_S3_MAKE_BUCKET', value: 'true' }]),
          // what a peer may take of it, unless FLUVIA_STORE_TENANT_QUOTA_BYTES says so
          ...(embedded?.size === undefined
            ? []
            : [{ name: 'FLUVIA_STORE_SIZE_BYTES', value: String(Math.floor(parseQuantity(embedded.size))) }]),
        ],
        ports: [
          { name: 'store', containerPort: PORTS.store, protocol: 'TCP' },
          { name: 'metrics', containerPort: PORTS.metrics, protocol: 'TCP' },
        ],
        securityContext: containerSecurity,
        resources: { requests: { cpu: '20m', memory: '96Mi' }, limits: { memory: '512Mi' } },
        startupProbe: {
          httpGet: { path: '/healthz', port: 'metrics' },
          periodSeconds: 2,
          failureThreshold: 30,
        },
        livenessProbe: {
          httpGet: { path: '/healthz', port: 'metrics' },
          periodSeconds: 20,
          timeoutSeconds: 3,
        },
        readinessProbe: {
          httpGet: { path: '/readyz', port: 'metrics' },
          periodSeconds: 3,
          timeoutSeconds: 3,
          failureThreshold: 2,
        },
        volumeMounts: [
          { name: 'keys', mountPath: KEYS_FOLDER, readOnly: true },
          { name: ACCESS_VOLUME, mountPath: ACCESS_FOLDER, readOnly: true },
        ],
      },
    ],
    volumes: [
      { name: 'keys', secret: { secretName: NAMES.storeSecret, defaultMode: 0o440 } },
      // Files, not variables: a corrected Secret reaches a front that runs.
      { name: ACCESS_VOLUME, secret: { secretName, defaultMode: 0o440 } },
    ],
  });

const embeddedObjects = (embedded: NonNullable<ObjectStoreOptions['embedded']>): readonly KubeObject[] => [
  ...(embedded.credentials === undefined
    ? []
    : [
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: meta(NAMES.objectStore, SYSTEM_NAMESPACE),
          type: 'Opaque',
          stringData: {
            endpoint: `http://${NAMES.objectStore}.${SYSTEM_NAMESPACE}.svc:${PORTS.objectStore}`,
            bucket: BUCKET,
            region: 'us-east-1',
            ...embedded.credentials,
          },
        } as KubeObject,
      ]),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta(NAMES.objectStore, SYSTEM_NAMESPACE),
    spec: {
      selector: selectorOf('object-store'),
      ports: [{ name: 's3', protocol: 'TCP', port: PORTS.objectStore, targetPort: PORTS.objectStore }],
    },
  },
  ...(embedded.size === undefined
    ? []
    : [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: meta(NAMES.objectStore, SYSTEM_NAMESPACE),
          spec: {
            accessModes: ['ReadWriteOnce'],
            resources: { requests: { storage: embedded.size } },
            ...(embedded.storageClass === undefined ? {} : { storageClassName: embedded.storageClass }),
          },
        } as KubeObject,
      ]),
  deployment(NAMES.objectStore, 'object-store', {
    ...podBase,
    containers: [
      {
        name: 's3',
        image: embedded.image,
        imagePullPolicy: 'IfNotPresent',
        args: ['--port', `:${PORTS.objectStore}`, '--quiet', '--keep-alive', 'posix', DATA_FOLDER],
        env: [
          secretEnv('ROOT_ACCESS_KEY', NAMES.objectStore, 'accessKey'),
          secretEnv('ROOT_SECRET_KEY', NAMES.objectStore, 'secretKey'),
        ],
        ports: [{ name: 's3', containerPort: PORTS.objectStore, protocol: 'TCP' }],
        securityContext: containerSecurity,
        resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '512Mi' } },
        readinessProbe: { tcpSocket: { port: 's3' }, periodSeconds: 3 },
        livenessProbe: { tcpSocket: { port: 's3' }, periodSeconds: 20 },
        volumeMounts: [
          { name: 'data', mountPath: DATA_FOLDER },
          { name: 'tmp', mountPath: '/tmp' },
        ],
      },
    ],
    volumes: [
      embedded.size === undefined
        ? { name: 'data', emptyDir: {} }
        : { name: 'data', persistentVolumeClaim: { claimName: NAMES.objectStore } },
      { name: 'tmp', emptyDir: {} },
    ],
  }),
];

/** The store's front, and the S3 server behind it when it is the embedded one. Nothing when no store is asked for. */
export const storeObjects = ({ image, objectStore }: InstallOptions): readonly KubeObject[] =>
  objectStore === undefined
    ? []
    : [
        ...(objectStore.embedded === undefined ? [] : embeddedObjects(objectStore.embedded)),
        frontDeployment(image, objectStore),
      ];
