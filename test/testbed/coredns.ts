/** CoreDNS as kubeadm sets it up (Deployment, ConfigMap, Service `kube-dns`), so that a product can edit its Corefile. */
import { DNS_ADDRESS } from './plan-addresses.ts';

const COREFILE = `.:53 {
    errors
    health {
        lameduck 0s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    cache 5
    reload 2s
    loadbalance
}
`;

const metadata = { name: 'coredns', namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } };
const labels = { 'k8s-app': 'kube-dns' };
const rbac = 'rbac.authorization.k8s.io';

const pod = {
  serviceAccountName: 'coredns',
  priorityClassName: 'system-cluster-critical',
  dnsPolicy: 'Default',
  terminationGracePeriodSeconds: 1,
  tolerations: [{ key: 'CriticalAddonsOnly', operator: 'Exists' }],
  containers: [
    {
      name: 'coredns',
      image: 'fluvia.local/coredns:1',
      imagePullPolicy: 'IfNotPresent',
      args: ['-conf', '/etc/coredns/Corefile'],
      ports: [
        { containerPort: 53, name: 'dns', protocol: 'UDP' },
        { containerPort: 53, name: 'dns-tcp', protocol: 'TCP' },
        { containerPort: 9153, name: 'metrics', protocol: 'TCP' },
      ],
      readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
      resources: { requests: { cpu: '10m', memory: '32Mi' } },
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] },
        readOnlyRootFilesystem: true,
      },
      volumeMounts: [{ name: 'config', mountPath: '/etc/coredns', readOnly: true }],
    },
  ],
  volumes: [
    { name: 'config', configMap: { name: 'coredns', items: [{ key: 'Corefile', path: 'Corefile' }] } },
  ],
};

/** Path at the API → object, in the order of their making. */
export const coreDnsObjects: readonly (readonly [path: string, object: unknown])[] = [
  [
    '/api/v1/namespaces/kube-system/serviceaccounts/coredns',
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
  ],
  [
    `/apis/${rbac}/v1/clusterroles/system:coredns`,
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: 'system:coredns' },
      rules: [
        {
          apiGroups: [''],
          resources: ['endpoints', 'services', 'pods', 'namespaces'],
          verbs: ['list', 'watch'],
        },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      ],
    },
  ],
  [
    `/apis/${rbac}/v1/clusterrolebindings/system:coredns`,
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'system:coredns' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'system:coredns' },
      subjects: [{ kind: 'ServiceAccount', name: 'coredns', namespace: 'kube-system' }],
    },
  ],
  [
    '/api/v1/namespaces/kube-system/configmaps/coredns',
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { Corefile: COREFILE } },
  ],
  [
    '/api/v1/namespaces/kube-system/services/kube-dns',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, name: 'kube-dns' },
      spec: {
        selector: labels,
        clusterIP: DNS_ADDRESS,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
          { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
          { name: 'metrics', port: 9153, protocol: 'TCP', targetPort: 9153 },
        ],
      },
    },
  ],
  [
    '/apis/apps/v1/namespaces/kube-system/deployments/coredns',
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: pod } },
    },
  ],
];
