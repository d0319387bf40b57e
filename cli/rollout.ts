import { NAMES, SYSTEM_NAMESPACE } from '../api/labels.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import { fluviaRef } from '../deploy/manifests/refs.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { DAEMON_SET, DEPLOYMENT, POD } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { Progress } from './wait.ts';

interface Rolling extends KubeObject {
  readonly metadata: KubeObject['metadata'];
  readonly spec: { readonly replicas?: number };
  readonly status?: Readonly<Record<string, number | undefined>>;
}

interface WaitingPod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly ready?: boolean;
      readonly state?: {
        readonly waiting?: { readonly reason?: string; readonly message?: string };
        readonly terminated?: { readonly reason?: string; readonly exitCode?: number };
      };
    }[];
  };
}

const FATAL = [
  'ErrImagePull',
  'ImagePullBackOff',
  'ErrImageNeverPull',
  'InvalidImageName',
  'CreateContainerConfigError',
];

/** Why a pod isn't Ready, in a few words; undefined when it is. */
export const podTrouble = (pod: WaitingPod): string | undefined => {
  const ready = pod.status?.conditions?.find((c) => c.type === 'Ready');
  if (ready?.status === 'True') {
    return undefined;
  }
  const scheduled = pod.status?.conditions?.find((c) => c.type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    return `can't be scheduled: ${scheduled.message ?? 'no node fits'}`;
  }
  for (const container of pod.status?.containerStatuses ?? []) {
    const { waiting, terminated } = container.state ?? {};
    if (waiting?.reason !== undefined && waiting.reason !== 'ContainerCreating') {
      return FATAL.includes(waiting.reason)
        ? `${waiting.reason}: is the image on the node or in a registry?`
        : waiting.reason;
    }
    if (terminated !== undefined) {
      return `ended with ${terminated.reason ?? 'an error'} (exit ${terminated.exitCode ?? '?'})`;
    }
  }
  return 'starting';
};

const isRolledOut = (
  object: Rolling | undefined,
  counts: readonly [wanted: number, updated: number, ready: number],
): boolean => {
  const observed = object?.status?.['observedGeneration'] ?? 0;
  const [wanted, updated, ready] = counts;
  return (
    object !== undefined &&
    observed >= (object.metadata.generation ?? 0) &&
    updated === wanted &&
    ready === wanted
  );
};

/** Which nodes their agents can't or don't yet serve, and why; undefined when all of them are served. */
export const nodesTrouble = (nodes: readonly FabricNode[], agents: number): string | undefined => {
  const troubles = nodes.flatMap(({ metadata, status }) => {
    const ready = status?.conditions?.find((c) => c.type === 'Ready');
    return ready?.status === 'True'
      ? []
      : [`node ${metadata.name}: ${ready?.message ?? 'its agent has not reported yet'}`];
  });
  if (troubles.length > 0) {
    return troubles.slice(0, 3).join('; ');
  }
  return nodes.length < agents ? `${agents - nodes.length} of ${agents} nodes are not known yet` : undefined;
};

/** Whether agents and controllers of the newest manifest are all Ready, or what is missing. */
export const rolloutProgress = async (client: KubeClient): Promise<Progress<string>> => {
  const [deployment, daemonSet, ...stores] = await Promise.all([
    client.get<Rolling>(DEPLOYMENT, NAMES.controller, SYSTEM_NAMESPACE),
    client.get<Rolling>(DAEMON_SET, NAMES.agent, SYSTEM_NAMESPACE),
    client.get<Rolling>(DEPLOYMENT, NAMES.store, SYSTEM_NAMESPACE),
    client.get<Rolling>(DEPLOYMENT, NAMES.objectStore, SYSTEM_NAMESPACE),
  ]);
  const of = (object: Rolling | undefined, field: string): number => object?.status?.[field] ?? 0;
  const replicas = deployment?.spec.replicas ?? 0;
  const agents = of(daemonSet, 'desiredNumberScheduled');
  const done =
    isRolledOut(deployment, [replicas, of(deployment, 'updatedReplicas'), of(deployment, 'readyReplicas')]) &&
    // pods of the version before are counted as replicas until they are gone
    of(deployment, 'replicas') === replicas &&
    isRolledOut(daemonSet, [agents, of(daemonSet, 'updatedNumberScheduled'), of(daemonSet, 'numberReady')]) &&
    agents > 0 &&
    stores.every(
      (store) =>
        store === undefined ||
        isRolledOut(store, [1, of(store, 'updatedReplicas'), of(store, 'readyReplicas')]),
    );
  if (done) {
    const { items } = await client.list<FabricNode>(fluviaRef('FabricNode'));
    const waitingFor = nodesTrouble(items, agents);
    if (waitingFor !== undefined) {
      return { waitingFor };
    }
    return { done: `${replicas} controllers, ${agents} agent${agents === 1 ? '' : 's'}` };
  }
  const pods = await client.list<WaitingPod>(POD, {
    namespace: SYSTEM_NAMESPACE,
    labelSelector: 'app.kubernetes.io/name=fluvia',
  });
  const troubles = pods.items.flatMap((pod) => {
    const trouble = podTrouble(pod);
    return trouble === undefined ? [] : [`${pod.metadata.name} ${trouble}`];
  });
  return { waitingFor: troubles.length === 0 ? 'pods are being made' : troubles.slice(0, 3).join('; ') };
};
