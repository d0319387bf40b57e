import { ANNOTATIONS, NAMES, PORTS, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { meta, selectorOf } from './common.ts';
import type { InstallOptions } from './options.ts';

/**
 * Where peers reach this cluster. It selects nothing: only the leader listens, and it writes the EndpointSlice with its
 * own address.
 */
export const peeringService = ({ peeringEndpoints }: InstallOptions): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: meta(NAMES.peeringService, SYSTEM_NAMESPACE, {
    annotations: { [ANNOTATIONS.peeringEndpoints]: (peeringEndpoints ?? []).join(',') },
  }),
  spec: {
    type: 'NodePort',
    ports: [{ name: 'peering', protocol: 'TCP', port: PORTS.peering, targetPort: PORTS.peering }],
  },
});

/** The admission webhook, served by both replicas. */
export const webhookService: KubeObject = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: meta(NAMES.webhookService, SYSTEM_NAMESPACE),
  spec: {
    selector: selectorOf('controller'),
    ports: [{ name: 'webhook', protocol: 'TCP', port: 443, targetPort: PORTS.webhook }],
  },
};

const webhookConfiguration = (
  name: string,
  webhook: string,
  strategy: string,
  failurePolicy: 'Fail' | 'Ignore',
): KubeObject => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: meta(name),
  webhooks: [
    {
      name: webhook,
      // caBundle is left out: the leader fills it in, and an apply without the field leaves it alone
      clientConfig: {
        service: {
          name: NAMES.webhookService,
          namespace: SYSTEM_NAMESPACE,
          path: `/admit/${strategy}`,
          port: 443,
        },
      },
      rules: [
        {
          apiGroups: [''],
          apiVersions: ['v1'],
          operations: ['CREATE'],
          resources: ['pods'],
          scope: 'Namespaced',
        },
      ],
      failurePolicy,
      matchPolicy: 'Equivalent',
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      reinvocationPolicy: 'IfNeeded',
      timeoutSeconds: 5,
      namespaceSelector: {
        matchExpressions: [{ key: 'fluvia.dev/strategy', operator: 'In', values: [strategy] }],
      },
    },
  ],
});

/**
 * Two configurations, so that a broken Fluvia never holds up pods that may run at home: only namespaces whose pods must
 * not run at home fail closed.
 */
export const webhookConfigurations: readonly KubeObject[] = [
  webhookConfiguration('fluvia-remote', 'remote.fluvia.dev', 'remote', 'Fail'),
  webhookConfiguration('fluvia', 'float.fluvia.dev', 'local-and-remote', 'Ignore'),
];
