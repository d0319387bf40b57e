/** The demo's database and its writer; the database knows nothing of Fluvia but the name of its storage class. */
import { imageReference } from '../images/images.ts';

const IMAGE = imageReference('postgresql');
const PASSWORD = 'battery staple';
const labels = { app: 'db' };

/** PostgreSQL as people run it: a Secret, a Service, a StatefulSet with a volume. */
export const database: readonly object[] = [
  { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'db' }, stringData: { password: PASSWORD } },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'db', labels },
    spec: { selector: labels, ports: [{ name: 'postgresql', port: 5432, targetPort: 'postgresql' }] },
  },
  {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'db', labels },
    spec: {
      serviceName: 'db',
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 4,
          containers: [
            {
              name: 'postgresql',
              image: IMAGE,
              imagePullPolicy: 'IfNotPresent',
              ports: [{ name: 'postgresql', containerPort: 5432 }],
              env: [
                { name: 'PGHOST', value: '/tmp' },
                { name: 'PGUSER', value: 'postgres' },
                { name: 'PGPASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } },
              ],
              volumeMounts: [{ name: 'data', mountPath: '/data' }],
              readinessProbe: {
                exec: { command: ['pg_isready', '-q'] },
                periodSeconds: 1,
                timeoutSeconds: 5,
              },
              resources: { requests: { cpu: '100m', memory: '64Mi' } },
            },
          ],
        },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: 'data' },
          spec: {
            storageClassName: 'fluvia',
            accessModes: ['ReadWriteOnce'],
            resources: { requests: { storage: '1Gi' } },
          },
        },
      ],
    },
  },
];

/** Claim of the database's volume. */
export const CLAIM = 'data-db-0';

// Numbers go on whatever becomes of a row; `timeout` ends what waits for a database that was cut off.
const WRITE = `
until timeout 5 psql -qc 'CREATE TABLE IF NOT EXISTS orders (n int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())'
do sleep 1; done
n=0
while :; do
  n=$((n + 1))
  timeout 3 psql -qc "INSERT INTO orders (n) VALUES ($n)" && echo "acknowledged $n"
  sleep 0.2
done`;

/** A pod that stays at home and inserts numbered rows by the database's Service; its log names those acknowledged. */
export const writer = (namespace: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'writer', namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'writer',
        image: IMAGE,
        imagePullPolicy: 'IfNotPresent',
        command: ['/bin/sh', '-c', WRITE],
        env: [
          { name: 'PGHOST', value: `db.${namespace}` },
          { name: 'PGUSER', value: 'postgres' },
          { name: 'PGPASSWORD', value: PASSWORD },
          { name: 'PGCONNECT_TIMEOUT', value: '2' },
        ],
      },
    ],
  },
});

/** Copies of its volume at a peer. */
export const replica = (peer: string, intervalSeconds: number): object => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'VolumeReplica',
  metadata: { name: 'db' },
  spec: { claimName: CLAIM, peers: [peer], intervalSeconds },
});

/** Short, so that nobody waits for minutes: a real fabric has the defaults. */
export const POLICY = { hysteresisSeconds: 3, graceSeconds: 6, leaseSeconds: 8, stopSeconds: 6 } as const;

export const policy: object = {
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'FloatPolicy',
  metadata: { name: 'default' },
  spec: POLICY,
};
