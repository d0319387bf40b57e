/** Bringing one cluster up: keys, nodes, images, then what kubeadm would do on top. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiClient } from './api-client.ts';
import { coreDnsObjects } from './coredns.ts';
import { provisionerObjects } from './provisioner.ts';
import { TestbedError } from './errors.ts';
import { importImage, initOf, isRunning, nodeFolder, startNode, type NodeContext } from './node.ts';
import { writePki } from './pki.ts';
import type { ClusterPlan, NodePlan } from './plan-addresses.ts';
import { waitUntil } from './processes.ts';

/** Gets a line for each step that is through. */
export type Step = (line: string) => void;

interface NodeObject {
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly podCIDR?: string };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly lastHeartbeatTime?: string;
}

interface PodObject {
  readonly spec: { readonly nodeName?: string };
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly {
      readonly state?: { readonly running?: { readonly startedAt: string } };
    }[];
  };
}

/** Nodes that were started just now, and when: what the API server says of them from before is stale. */
interface Boot {
  readonly nodes: ReadonlySet<string>;
  /** Milliseconds since 1970, whole seconds, as Kubernetes' times are. */
  readonly at: number;
}

const READY_WITHIN_MS = 180_000;

const must = async (
  what: string,
  cluster: ClusterPlan,
  context: NodeContext,
  done: () => Promise<boolean>,
): Promise<void> => {
  const alive = (): boolean => cluster.nodes.every((node) => isRunning(context, node));
  let ok = false;
  await waitUntil(async () => (ok = await done()) || !alive(), READY_WITHIN_MS, 200);
  if (!ok) {
    const first = cluster.nodes[0];
    const logs = first === undefined ? '' : `${nodeFolder(context, first)}/log`;
    throw new TestbedError(
      `cluster ${cluster.name}: ${alive() ? `${what} not within ${READY_WITHIN_MS / 1000} s` : 'a node died'}`,
      `See the logs in ${logs}.`,
    );
  }
};

const isTrue = (conditions: readonly Condition[] | undefined, name: string): Condition | undefined =>
  conditions?.find(({ type, status }) => type === name && status === 'True');

const isReady = (node: NodeObject, boot: Boot): boolean => {
  const condition = isTrue(node.status?.conditions, 'Ready');
  if (condition === undefined) return false;
  return !boot.nodes.has(node.metadata.name) || Date.parse(condition.lastHeartbeatTime ?? '') >= boot.at;
};

const serves = (pod: PodObject, boot: Boot): boolean => {
  if (isTrue(pod.status?.conditions, 'Ready') === undefined) return false;
  const startedAt = pod.status?.containerStatuses?.[0]?.state?.running?.startedAt ?? '';
  return !boot.nodes.has(pod.spec.nodeName ?? '') || Date.parse(startedAt) >= boot.at;
};

const listNodes = async (api: ApiClient): Promise<readonly NodeObject[]> => {
  const { status, body } = await api.call('GET', '/api/v1/nodes');
  return status === 200 ? (body as { items: readonly NodeObject[] }).items : [];
};

/** Waits until all nodes of the plan are Ready, giving each its pod range as kubeadm's controller-manager would. */
const waitForNodes = async (
  api: ApiClient,
  cluster: ClusterPlan,
  context: NodeContext,
  boot: Boot,
): Promise<void> => {
  await must('nodes are', cluster, context, async () => {
    const nodes = await listNodes(api);
    for (const plan of cluster.nodes) {
      const node = nodes.find(({ metadata }) => metadata.name === plan.name);
      if (node !== undefined && node.spec?.podCIDR === undefined) {
        await api.call(
          'PATCH',
          `/api/v1/nodes/${plan.name}`,
          { spec: { podCIDR: plan.podCidr, podCIDRs: [plan.podCidr] } },
          'application/merge-patch+json',
        );
      }
    }
    return cluster.nodes.every((plan) =>
      nodes.some(
        (node) => node.metadata.name === plan.name && isReady(node, boot) && node.spec?.podCIDR !== undefined,
      ),
    );
  });
};

const applyObjects = async (
  api: ApiClient,
  cluster: ClusterPlan,
  context: NodeContext,
  objects: readonly (readonly [path: string, object: unknown])[],
): Promise<void> => {
  for (const [path, object] of objects) {
    await must(`${path} is applied`, cluster, context, async () => {
      const { status } = await api.apply(path, object);
      return status === 200 || status === 201;
    });
  }
};

const waitForCoreDns = (
  api: ApiClient,
  cluster: ClusterPlan,
  context: NodeContext,
  boot: Boot,
): Promise<void> =>
  must('CoreDNS is ready', cluster, context, async () => {
    const { status, body } = await api.call(
      'GET',
      '/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns',
    );
    return status === 200 && (body as { items: readonly PodObject[] }).items.some((pod) => serves(pod, boot));
  });

const startIfDown = async (context: NodeContext, cluster: ClusterPlan, node: NodePlan): Promise<boolean> => {
  if (initOf(context, node) !== undefined) return false;
  await startNode(context, cluster, node);
  return true;
};

/** Images of the node that it doesn't have yet. Its own memory of them lies on its disk, beside containerd's. */
export const importMissing = async (
  context: NodeContext,
  node: NodePlan,
  archives: readonly string[],
): Promise<void> => {
  const memory = join(nodeFolder(context, node), 'state', 'imported');
  mkdirSync(memory, { recursive: true });
  for (const archive of archives) {
    const mark = join(memory, archive.replaceAll('/', '_'));
    if (existsSync(mark)) continue;
    await importImage(context, node, archive);
    writeFileSync(mark, '');
  }
};

/**
 * Makes these nodes of a cluster whole: starts those that are down and waits until it works. The first time also makes its keys
 * and CoreDNS; later what people changed in the cluster stays.
 */
export const bringUp = async (
  context: NodeContext,
  cluster: ClusterPlan,
  nodes: readonly NodePlan[],
  images: readonly string[],
  step: Step,
): Promise<void> => {
  const wanted: ClusterPlan = { ...cluster, nodes };
  const folder = context.clusterFolder(cluster.name);
  const kubeconfig = join(folder, 'kubeconfig');
  if (!existsSync(kubeconfig)) {
    mkdirSync(folder, { recursive: true });
    const text = await writePki(join(folder, 'pki'), cluster);
    writeFileSync(kubeconfig, text, { mode: 0o600 });
  }
  const at = Math.floor(Date.now() / 1000) * 1000;
  const started = await Promise.all(nodes.map((node) => startIfDown(context, cluster, node)));
  if (started.includes(true)) step(`${cluster.name}: ${started.filter(Boolean).length} node(s) booted`);
  const boot: Boot = {
    nodes: new Set(nodes.filter((_, index) => started[index] === true).map(({ name }) => name)),
    at,
  };
  const imports = Promise.all(nodes.map((node) => importMissing(context, node, images)));
  // heard below; a failure until then must not end the process, which may be about to clean up (Ctrl-C ends the import, too)
  imports.catch(() => undefined);
  const [first] = cluster.nodes;
  if (first === undefined || !isRunning(context, first)) {
    await imports;
    step(`${cluster.name}: its control plane (${first?.name}) is down, so its nodes can't become Ready`);
    return;
  }
  const api = new ApiClient(cluster.server, join(folder, 'pki'));
  try {
    await must(
      'API server answers',
      wanted,
      context,
      async () => (await api.call('GET', '/readyz')).status === 200,
    );
    if (started.includes(true)) step(`${cluster.name}: API server ready`);
    const bootstrapped = join(folder, 'bootstrapped');
    if (!existsSync(bootstrapped)) {
      await applyObjects(api, wanted, context, coreDnsObjects);
      if (context.storage) await applyObjects(api, wanted, context, provisionerObjects);
      writeFileSync(bootstrapped, '');
    }
    await waitForNodes(api, wanted, context, boot);
    if (started.includes(true)) step(`${cluster.name}: node(s) Ready`);
    await imports;
    await waitForCoreDns(api, wanted, context, boot);
    if (started.includes(true)) step(`${cluster.name}: CoreDNS ready, images there`);
  } finally {
    await imports.catch(() => undefined);
    api.close();
  }
};
