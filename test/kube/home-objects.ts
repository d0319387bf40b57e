/** Objects of a home cluster as the rest of Fluvia would have left them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { FLOAT_GATE, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { CLAIM, FABRIC_NODE, PEER, VIEW, VIRTUAL_NODE } from '../../offloading/consumer/home.ts';
import { ensureCertificate } from '../../offloading/webhook/certificate-store.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { waitUntil as poll } from '../testbed/processes.ts';

/** Names and cluster IDs of the peers. */
export const IDS: Readonly<Record<string, string>> = { east: 'e'.repeat(26), west: 'w'.repeat(26) };
const VIEWS: Readonly<Record<string, string>> = { east: '10.61.0.0/16', west: '10.62.0.0/16' };

/** Fails with what was waited for. */
export const waitUntil = async (
  what: string,
  done: () => boolean | Promise<boolean>,
  withinMs = 30_000,
): Promise<void> => {
  if (!(await poll(done, withinMs))) throw new Error(`waited in vain until ${what}`);
};

/** Installs the CRDs and waits until they are served. */
export const applyCrds = async (client: KubeClient): Promise<void> => {
  const folder = join(import.meta.dirname, '../../deploy/crds');
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
    await client.create(resources.CRD, parse(readFileSync(join(folder, file), 'utf8')) as KubeObject);
  }
  await waitUntil('the CRDs are served', async () => {
    const crds = await client.list<
      KubeObject & { status?: { conditions?: { type: string; status: string }[] } }
    >(resources.CRD);
    return crds.items.every((crd) =>
      crd.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True'),
    );
  });
};

/**
 * A peering with a granted claim, as peering/ and network-fabric/ would leave it. Every home takes the same ports for its
 * virtual kubelets: where several share a machine, all but one are given theirs.
 */
export const makePeer = async (client: KubeClient, name: string, kubeletPort?: number): Promise<void> => {
  const now = new Date().toISOString();
  const condition = (type: string) => ({
    type,
    status: 'True',
    reason: 'Test',
    message: '',
    lastTransitionTime: now,
  });
  await client.create(PEER, {
    metadata: { name },
    spec: { clusterID: IDS[name], pins: ['0'.repeat(64)], roles: ['Provider'] },
  } as never);
  const status = { conditions: [condition('Ready'), condition('NetworkReady')] };
  await client.patch(PEER, name, undefined, { status }, { type: 'merge', subresource: 'status' });
  await client.create(CLAIM, { metadata: { name }, spec: { peer: name } } as never);
  const granted = { cpu: '4', memory: '8Gi', pods: '20' };
  await client.patch(
    CLAIM,
    name,
    undefined,
    { status: { granted, conditions: [condition('Granted')] } },
    { type: 'merge', subresource: 'status' },
  );
  await client.create(VIRTUAL_NODE, {
    metadata: { name: `fluvia-${name}` },
    spec: { peer: name, claim: name },
  } as never);
  if (kubeletPort !== undefined) {
    const status = { port: kubeletPort };
    const options = { type: 'merge', subresource: 'status' } as const;
    await client.patch(VIRTUAL_NODE, `fluvia-${name}`, undefined, { status }, options);
  }
  const theirs = [{ purpose: 'Pod', real: '10.244.0.0/16', view: VIEWS[name] }];
  await client.create(VIEW, {
    metadata: { name },
    spec: { peer: name, clusterID: IDS[name], theirs, ours: [] },
  } as never);
};

/** What a working webhook looks like to the controller; the pods below come as it would leave them. */
export const makeWebhook = async (client: KubeClient): Promise<void> => {
  for (const name of ['fluvia-remote', 'fluvia']) {
    await client.create(resources.MUTATING_WEBHOOK_CONFIGURATION, {
      metadata: { name },
      webhooks: [
        {
          name: `${name}.fluvia.dev`,
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Ignore',
          objectSelector: { matchLabels: { 'test/never': 'true' } },
          clientConfig: {
            service: { name: 'fluvia-webhook', namespace: 'fluvia-system', path: '/admit/remote' },
          },
          rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        },
      ],
    } as never);
  }
  await client.create(resources.ENDPOINT_SLICE, {
    metadata: {
      name: 'fluvia-webhook-x',
      namespace: 'fluvia-system',
      labels: { 'kubernetes.io/service-name': 'fluvia-webhook' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.244.0.9'], conditions: { ready: true } }],
    ports: [],
  } as never);
  await ensureCertificate(client, systemClock, 'fluvia-system');
};

const GATEWAY_SPEC = {
  nodeAddress: '198.18.0.2',
  podRanges: [],
  externalAddress: '10.70.0.1',
  gateway: 'n1',
};

/** What the gateway's agent says. */
export const acknowledge = async (
  client: KubeClient,
  offers: Readonly<Record<string, number>>,
): Promise<void> => {
  const status = { heartbeatAt: new Date().toISOString(), acknowledgedOffers: offers };
  await client.patch(FABRIC_NODE, 'n1', undefined, { status }, { type: 'merge', subresource: 'status' });
};

/** A real node without a kubelet: what is bound to it stays Pending. It is the gateway, too. */
export const makeHomeNode = async (client: KubeClient): Promise<void> => {
  const labels = { 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': 'n1' };
  await client.create(resources.NODE, { metadata: { name: 'n1', labels } });
  const amounts = { cpu: '4', memory: '8Gi', pods: '20' };
  const conditions = [
    { type: 'Ready', status: 'True', reason: 'Test', lastTransitionTime: new Date().toISOString() },
  ];
  await client.patch(
    resources.NODE,
    'n1',
    undefined,
    { status: { capacity: amounts, allocatable: amounts, conditions } },
    { type: 'merge', subresource: 'status' },
  );
  await client.create(FABRIC_NODE, { metadata: { name: 'n1' }, spec: GATEWAY_SPEC } as never);
  await acknowledge(client, {});
};

/** What the leader's controllers are given; each event goes to `onEvent` as `object Reason: note`. */
export const homeDeps = (
  client: KubeClient,
  onEvent: (line: string) => void,
  signal: AbortSignal,
): ControllerDeps => ({
  client,
  informers: createInformerFactory(client, signal),
  clock: systemClock,
  log: createLogger({
    level: 'warn',
    write: (line) => process.env['FLUVIA_TEST_LOG'] && process.stderr.write(line),
  }),
  metrics: createMetrics(),
  events: {
    record: (about, { reason, note }) => onEvent(`${about.metadata.name} ${reason}: ${note}`),
    flush: async () => {},
  },
  clusterName: 'home',
  systemNamespace: 'fluvia-system',
  podName: 'fluvia-controller-0',
  podIP: '127.0.0.1',
  leaderTransitions: 1,
});

/** A Deployment in `shop` that refers to ConfigMap `page`, with what admission would have added to its pods. */
export const webDeployment = (replicas: number): object => ({
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    replicas,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        containers: [
          {
            name: 'web',
            image: 'web',
            env: [{ name: 'WHERE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
            resources: { requests: { cpu: '100m', memory: '64Mi' } },
            volumeMounts: [{ name: 'page', mountPath: '/page' }],
          },
        ],
        volumes: [{ name: 'page', configMap: { name: 'page' } }],
        tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
        schedulingGates: [{ name: FLOAT_GATE }],
      },
    },
  },
});
