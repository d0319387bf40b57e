/** The demo's application: a web front end and a backend, with nothing in it that knows of Fluvia. */

const IMAGE = 'fluvia.local/web:1';

const labels = (app: string): Record<string, string> => ({ app });

const deployment = (app: string, replicas: number): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: app, labels: labels(app) },
  spec: {
    replicas,
    selector: { matchLabels: labels(app) },
    template: {
      metadata: { labels: labels(app) },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'server',
            image: IMAGE,
            imagePullPolicy: 'IfNotPresent',
            ports: [{ name: 'http', containerPort: 8080 }],
            envFrom: [{ configMapRef: { name: 'settings' } }],
            env: [
              { name: 'PORT', value: '8080' },
              { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
              { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
              { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'credentials', key: 'password' } } },
            ],
            readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
            resources: { requests: { cpu: '50m', memory: '16Mi' } },
          },
        ],
      },
    },
  },
});

const service = (app: string): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: app, labels: labels(app) },
  spec: { selector: labels(app), ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
});

/** A `List` for `kubectl apply -f -`. */
export const application = (replicas: { readonly web: number; readonly backend: number }): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'settings' },
        data: { GREETING: 'hello from the shop' },
      },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'credentials' },
        stringData: { password: 'correct horse' },
      },
      deployment('web', replicas.web),
      service('web'),
      deployment('backend', replicas.backend),
      service('backend'),
    ],
  });
