import type { KubeObject } from '../../runtime/kube/types.ts';

/** Labels of everything that the installer makes: by them uninstall finds what an older version left. */
export const INSTALL_LABELS = {
  'app.kubernetes.io/name': 'fluvia',
  'app.kubernetes.io/part-of': 'fluvia',
} as const;

/** Labels that select the pods of one component. */
export const selectorOf = (component: string): Readonly<Record<string, string>> => ({
  'app.kubernetes.io/name': 'fluvia',
  'app.kubernetes.io/component': component,
});

/** Metadata of an object of the installation. */
export const meta = (
  name: string,
  namespace?: string,
  extra: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  } = {},
): KubeObject['metadata'] => ({
  name,
  ...(namespace === undefined ? {} : { namespace }),
  labels: { ...INSTALL_LABELS, ...extra.labels },
  ...(extra.annotations === undefined ? {} : { annotations: extra.annotations }),
});

/** Keeps pods of the installation off the nodes that stand for peers: they would run elsewhere. */
export const realLinuxNodes = {
  requiredDuringSchedulingIgnoredDuringExecution: {
    nodeSelectorTerms: [
      {
        matchExpressions: [
          { key: 'fluvia.dev/virtual-node', operator: 'DoesNotExist' },
          { key: 'kubernetes.io/os', operator: 'In', values: ['linux'] },
        ],
      },
    ],
  },
} as const;

/** Environment variable from the downward API. */
export const fieldEnv = (name: string, fieldPath: string): object => ({
  name,
  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
});

/** Where the kubelet mounts a ServiceAccount, and the volume that holds the same for one container only. */
export const TOKEN_MOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
export const tokenVolume = {
  name: 'token',
  projected: {
    defaultMode: 0o444,
    sources: [
      { serviceAccountToken: { path: 'token', expirationSeconds: 3600 } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      {
        downwardAPI: {
          items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
        },
      },
    ],
  },
} as const;
