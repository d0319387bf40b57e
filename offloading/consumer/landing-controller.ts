import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isNotFound } from '../../runtime/kube/errors.ts';
import { POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import type { Home } from './home.ts';
import { limitedAgain, placementRecordOf } from './plan-placement-patch.ts';

/** A pod that might have floated but landed at home gets its own eviction limits back. */
export const startLanding = (deps: ControllerDeps, home: Home, signal: AbortSignal): void => {
  const wanted = (pod: Pod) => {
    if (!pod.spec.nodeName || home.virtualNodeOf(pod) !== undefined) return undefined;
    if (pod.metadata.deletionTimestamp !== undefined) return undefined;
    const limits = placementRecordOf(pod)?.evictAfterSeconds;
    return limits && limitedAgain(pod.spec, limits);
  };
  const reconcile = async (key: string): Promise<ReconcileResult> => {
    const pod = home.pods.getByKey(key);
    const tolerations = pod && wanted(pod);
    if (pod === undefined || tolerations === undefined) return {};
    const { name, namespace, uid, resourceVersion } = pod.metadata;
    const body = { metadata: { uid, resourceVersion }, spec: { tolerations } };
    await deps.client.patch(POD, name, namespace, body, { type: 'merge', signal }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
    return {};
  };
  void runController(
    {
      name: 'offloading.landing',
      sources: [
        watchSource(home.pods, ({ object }) => (wanted(object) === undefined ? [] : [keyOf(object)])),
      ],
      reads: [home.virtualNodes],
      reconcile,
      workers: 1,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
