/** What is known of one pod of a consumer, read from the caches. */
import { restartPolicyOf } from './plan-pod.ts';
import type { Consumer } from './consumers.ts';
import type { ProviderContext } from './context.ts';
import { fenceGraceSeconds } from './plan-fence.ts';
import type { FenceWorld, ShadowWorld } from './plan-shadow.ts';
import { isGenuine, splitHomeKey } from './twins.ts';
import { LABELS } from '../../api/labels.ts';
import type { SHADOWS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import type { Pod } from '../../runtime/kube/types.ts';

export type ShadowItem = ItemOf<typeof SHADOWS>;

/** The objects behind a {@link ShadowWorld}. */
export interface ShadowState {
  readonly key: string;
  /** Id of the item and its status: `namespace/name` at home. */
  readonly id: string;
  readonly clusterID: string;
  readonly homeNamespace: string;
  readonly name: string;
  readonly consumer: Consumer | undefined;
  readonly twin: string | undefined;
  readonly item: ShadowItem | undefined;
  readonly shadow: ShadowPod | undefined;
  readonly pod: Pod | undefined;
  readonly world: ShadowWorld;
}

const fenceOf = (
  context: ProviderContext,
  clusterID: string,
  item: ShadowItem | undefined,
  shadow: ShadowPod | undefined,
): FenceWorld | undefined => {
  const fence = shadow?.spec.fence ?? item?.fence;
  const uid = shadow?.spec.home.uid ?? item?.uid;
  if (fence === undefined || uid === undefined) return undefined;
  const grace = shadow?.spec.pod.spec['terminationGracePeriodSeconds'];
  return {
    state: context.leases.of(clusterID, uid),
    graceSeconds: fenceGraceSeconds(fence.stopSeconds, typeof grace === 'number' ? grace : 30),
  };
};

/** Reads everything about a key `<cluster ID>/<home namespace>/<name>`. */
export const observeShadow = (context: ProviderContext, key: string): ShadowState => {
  const { clusterID, namespace: homeNamespace, name } = splitHomeKey(key);
  const consumer = context.consumers.get(clusterID);
  const twin = context.twins.of(clusterID, homeNamespace);
  const twinName = twin?.metadata.name;
  const item = consumer?.shadows.get(`${homeNamespace}/${name}`);
  const found = twinName === undefined ? undefined : context.shadows.get(twinName, name);
  const shadow = found !== undefined && isGenuine(found, context.twins) ? found : undefined;
  const anyPod = twinName === undefined ? undefined : context.pods.get(twinName, name);
  const pod = anyPod?.metadata.labels?.[LABELS.origin] === clusterID ? anyPod : undefined;
  return {
    key,
    id: `${homeNamespace}/${name}`,
    clusterID,
    homeNamespace,
    name,
    consumer,
    twin: twinName,
    item,
    shadow,
    pod,
    world: {
      peer: context.consumers.stateOf(clusterID),
      item,
      complete: consumer?.shadows.isComplete() ?? false,
      namespaceWithdrawn:
        consumer !== undefined &&
        consumer.namespaces.isComplete() &&
        consumer.namespaces.get(homeNamespace) === undefined,
      fence: fenceOf(context, clusterID, item, shadow),
      twinReady: twin !== undefined && twin.metadata.deletionTimestamp === undefined,
      shadow:
        shadow === undefined
          ? undefined
          : {
              uid: shadow.metadata.uid ?? '',
              homeUID: shadow.spec.home.uid,
              terminating: shadow.metadata.deletionTimestamp !== undefined,
              restartPolicy: restartPolicyOf(shadow),
              phase: shadow.status?.phase,
              podUID: shadow.status?.podUID,
            },
      pod:
        pod === undefined
          ? undefined
          : {
              uid: pod.metadata.uid ?? '',
              ownerUID: pod.metadata.ownerReferences?.find(({ kind }) => kind === 'ShadowPod')?.uid,
              phase: pod.status?.phase,
              reason: pod.status?.reason,
              terminating: pod.metadata.deletionTimestamp !== undefined,
              graceSeconds: pod.metadata.deletionGracePeriodSeconds,
              ownGraceSeconds: pod.spec.terminationGracePeriodSeconds,
            },
    },
  };
};
