/** `network.fabric-node`: one FabricNode for each real Node. */
import { cidrContainsIp, formatIp, parseCidr, parseIp } from '../api/ip-range.ts';
import { FINALIZERS, LABELS, MANAGED_BY } from '../api/labels.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import { ensure, equalJson } from '../runtime/kube/apply.ts';
import type { Reconcile } from '../runtime/kube/controller.ts';
import { hasFinalizer, removeFinalizer } from '../runtime/kube/finalizers.ts';
import type { Node, Pod } from '../runtime/kube/types.ts';
import { allocateAddresses } from './ipam.ts';
import { FABRIC_NODE } from './kinds.ts';
import { FIELD_MANAGER } from './names.ts';
import { removeObject, type NetworkContext } from './network-context.ts';

const IPV4_ADDRESS = /^\d{1,3}(?:\.\d{1,3}){3}$/;

/** Whether the Node is a machine of this cluster, not one that stands for a grant. */
export const isRealNode = (node: Node): boolean => node.metadata.labels?.[LABELS.virtualNode] === undefined;

const internalAddress = (node: Node): string | undefined =>
  node.status?.addresses?.find((item) => item.type === 'InternalIP' && IPV4_ADDRESS.test(item.address))
    ?.address;

/** Whether the pod has an address of its own on a node of this cluster. */
export const hasOwnAddress = (pod: Pod, podCIDRs: readonly string[]): boolean => {
  const { phase, podIP } = pod.status ?? {};
  if (pod.spec.hostNetwork === true || phase === 'Succeeded' || phase === 'Failed') return false;
  if (podIP === undefined || !IPV4_ADDRESS.test(podIP)) return false;
  return podCIDRs.some((cidr) => cidrContainsIp(parseCidr(cidr), parseIp(podIP)));
};

const podRanges = (context: NetworkContext, node: Node, config: NetworkConfig): string[] => {
  const own = [
    ...(node.spec.podCIDRs ?? []),
    ...(node.spec.podCIDR === undefined ? [] : [node.spec.podCIDR]),
  ];
  const ranges = [...new Set(own.filter((cidr) => !cidr.includes(':')))];
  if (ranges.length > 0) return ranges;
  return context.informers.pods
    .list()
    .filter((pod) => pod.spec.nodeName === node.metadata.name && hasOwnAddress(pod, config.spec.podCIDRs))
    .map((pod) => `${pod.status?.podIP}/32`)
    .sort()
    .slice(0, 1024);
};

/** createFabricNodeReconcile makes the controller's reconcile; keys are names of Nodes. Runs with one worker. */
export const createFabricNodeReconcile = (
  context: NetworkContext,
  chosenGateway: () => string | undefined,
): Reconcile => {
  const { informers, deps } = context;
  /** Addresses given but perhaps not in the cache yet. */
  const given = new Map<string, string>();

  const externalAddress = (config: NetworkConfig, name: string): string => {
    const existing = new Map<string, number>();
    for (const item of informers.fabricNodes.list()) {
      existing.set(item.metadata.name, parseIp(item.spec.externalAddress));
    }
    for (const [node, address] of given) existing.set(node, parseIp(address));
    const names = [...existing.keys(), name];
    const ip = allocateAddresses(parseCidr(config.spec.externalCIDR), names, existing).get(name);
    const address = formatIp(ip ?? 0);
    given.set(name, address);
    return address;
  };

  const remove = async (existing: FabricNode | undefined, isOrphan: boolean, signal: AbortSignal) => {
    await removeObject(context, FABRIC_NODE, existing, signal);
    const isWaiting =
      existing?.metadata.deletionTimestamp !== undefined && hasFinalizer(existing, FINALIZERS.cleanup);
    // No agent is left that could clean up, and no node to be cleaned.
    if (isWaiting && isOrphan) {
      await removeFinalizer(deps.client, FABRIC_NODE, existing, FINALIZERS.cleanup, { signal });
    }
  };

  return async (name, signal) => {
    const node = informers.nodes.get(undefined, name);
    const existing = informers.fabricNodes.get(undefined, name);
    const config = context.config();
    const nodeAddress = node === undefined ? undefined : internalAddress(node);
    if (existing === undefined && node === undefined) given.delete(name);
    if (node === undefined || !isRealNode(node) || config === undefined) {
      await remove(existing, node === undefined, signal);
      return;
    }
    if (nodeAddress === undefined || existing?.metadata.deletionTimestamp !== undefined) return;
    const gateway = chosenGateway() ?? existing?.spec.gateway;
    const spec: FabricNode['spec'] = {
      nodeAddress,
      podRanges: podRanges(context, node, config),
      externalAddress: externalAddress(config, name),
      ...(gateway === undefined ? {} : { gateway }),
    };
    const labels = { [LABELS.managedBy]: MANAGED_BY };
    const manifest = { metadata: { name, labels, finalizers: [FINALIZERS.cleanup] }, spec };
    // A field that is no longer wanted must go, which `existing` alone wouldn't show.
    // The fence's answers are another field manager's.
    const { fence: _answers, ...own } = existing?.spec ?? { fence: undefined };
    const same = equalJson(own, spec) ? existing : undefined;
    const options = { fieldManager: FIELD_MANAGER, existing: same, signal };
    await ensure(deps.client, FABRIC_NODE, manifest, options);
  };
};
