import { parse } from 'yaml';
import { LABELS } from '../api/labels.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { isNotFound } from '../runtime/kube/errors.ts';
import { CONFIG_MAP, NODE, POD, SERVICE_CIDR } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { CidrEvidence } from './plan-cidrs.ts';

interface ConfigMapData extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

interface PodView extends KubeObject {
  readonly spec: {
    readonly hostNetwork?: boolean;
    readonly nodeName?: string;
    readonly containers: readonly {
      readonly command?: readonly string[];
      readonly args?: readonly string[];
    }[];
  };
  readonly status?: { readonly podIP?: string };
}

interface NodeView extends KubeObject {
  readonly spec: { readonly podCIDRs?: readonly string[]; readonly podCIDR?: string };
}

/** A value deep in YAML text of a ConfigMap; undefined when any part of the way is missing. */
const inYaml = (text: string | undefined, path: readonly string[]): string | undefined => {
  let value: unknown;
  try {
    value = text === undefined ? undefined : parse(text);
  } catch {
    return undefined;
  }
  for (const key of path) {
    value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  }
  return typeof value === 'string' && value !== '' ? value : undefined;
};

/** Gathers what a cluster tells of its ranges. Reads only. */
export const gatherCidrEvidence = async (client: KubeClient, signal: AbortSignal): Promise<CidrEvidence> => {
  const options = { signal };
  const configMap = (name: string): Promise<ConfigMapData | undefined> =>
    client.get<ConfigMapData>(CONFIG_MAP, name, 'kube-system', options);
  const serviceCIDRs = async (): Promise<readonly string[]> => {
    try {
      const list = await client.list<{ spec?: { cidrs?: readonly string[] } }>(SERVICE_CIDR, options);
      return list.items.flatMap((item) => item.spec?.cidrs ?? []);
    } catch (error) {
      // served by default only since 1.33
      if (isNotFound(error)) {
        return [];
      }
      throw error;
    }
  };
  const [kubeadm, kubeProxy, nodes, system, pods, services] = await Promise.all([
    configMap('kubeadm-config'),
    configMap('kube-proxy'),
    client.list<NodeView>(NODE, { ...options, labelSelector: `!${LABELS.virtualNode}` }),
    client.list<PodView>(POD, {
      ...options,
      namespace: 'kube-system',
      labelSelector: 'component=kube-controller-manager',
    }),
    client.list<PodView>(POD, options),
    serviceCIDRs(),
  ]);
  const configuration = kubeadm?.data?.['ClusterConfiguration'];
  const podSubnet = inYaml(configuration, ['networking', 'podSubnet']);
  const serviceSubnet = inYaml(configuration, ['networking', 'serviceSubnet']);
  const proxyRange = inYaml(kubeProxy?.data?.['config.conf'], ['clusterCIDR']);
  const realNodes = new Set(nodes.items.map((node) => node.metadata.name));
  return {
    ...(configuration === undefined
      ? {}
      : {
          kubeadm: {
            ...(podSubnet === undefined ? {} : { pods: podSubnet }),
            ...(serviceSubnet === undefined ? {} : { services: serviceSubnet }),
          },
        }),
    ...(proxyRange === undefined ? {} : { kubeProxy: proxyRange }),
    controllerManagerArgs: system.items.flatMap((pod) =>
      pod.spec.containers.flatMap((c) => [...(c.command ?? []), ...(c.args ?? [])]),
    ),
    nodePodCIDRs: nodes.items.flatMap((node) => node.spec.podCIDRs ?? node.spec.podCIDR ?? []),
    podIPs: pods.items
      .filter((pod) => pod.spec.hostNetwork !== true && realNodes.has(pod.spec.nodeName ?? ''))
      .flatMap((pod) => pod.status?.podIP ?? []),
    serviceCIDRs: services,
  };
};
