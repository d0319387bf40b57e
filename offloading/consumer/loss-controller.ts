/** Replaces the pods of lost peers. Keyed by pod; the shadow controller tells home that they aren't ready. */
import { FloatPolicyKind, type FloatPolicy } from '../../api/v1alpha1/float-policy.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict } from '../../runtime/kube/errors.ts';
import type { InformerFactory } from '../../runtime/kube/informer-factory.ts';
import { fluviaResource, POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { isProvider, type Home } from './home.ts';
import type { LinkHealth } from './link-health.ts';
import { lossPolicyOf, planLoss, suspectsItself, type LossPolicy } from './plan-loss.ts';

const FLOAT_POLICY = fluviaResource(FloatPolicyKind.kind, FloatPolicyKind.plural, false);
/** The one that holds for every namespace. */
const POLICY_NAME = 'default';
/** While home suspects itself, its peers are looked at again after this. */
const AGAIN_MS = 5000;

/** Reads the policy in force; `whenSynced` resolves once it is known. */
export const followLossPolicy = (informers: InformerFactory) => {
  const policies = informers.for<FloatPolicy>(FLOAT_POLICY);
  return {
    policies,
    current: (): LossPolicy => lossPolicyOf(policies.get(undefined, POLICY_NAME)),
    whenSynced: (signal: AbortSignal): Promise<void> => policies.whenSynced(signal),
  };
};

export interface LossControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly health: LinkHealth;
  readonly loss: ReturnType<typeof followLossPolicy>;
}

/** Runs until `signal` aborts. */
export const startLoss = (options: LossControllerOptions, signal: AbortSignal): void => {
  const { deps, home, health, loss } = options;
  const queue = createWorkQueue({ clock: deps.clock });

  const providers = (): readonly string[] =>
    home.peers
      .list()
      .filter(
        (peer) => isProvider(peer) && peer.metadata.deletionTimestamp === undefined && !peer.spec.paused,
      )
      .map((peer) => peer.metadata.name);

  const replace = async (pod: Pod, peer: string, fenced: boolean): Promise<void> => {
    const { name, namespace, uid } = pod.metadata;
    const note = fenced
      ? `peer ${peer} is lost: another starts once this one can run no more there`
      : `peer ${peer} is lost: another starts, and this one ends when the peer returns`;
    deps.events.record(pod, { type: 'Warning', reason: 'PeerLost', note });
    // A fenced pod keeps its grace: its peer may return while it stops, and its finalizer holds it anyway.
    const grace = fenced ? {} : { gracePeriodSeconds: 0 };
    await deps.client.delete(POD, name, namespace, { uid, ...grace, signal }).catch((error: unknown) => {
      if (!isConflict(error)) throw error;
    });
  };

  const reconcile = async (key: string): Promise<ReconcileResult> => {
    const pod = home.pods.getByKey(key);
    const peer = pod && home.virtualNodeOf(pod)?.spec.peer;
    if (pod === undefined || peer === undefined) return {};
    // A pause is a person's wish, not a loss: nothing is made twice for it.
    if (home.peers.get(undefined, peer)?.spec.paused === true) return {};
    const lost = providers().map((name) =>
      health.state(name) === 'up' ? undefined : (health.lostForMs(name) ?? 0),
    );
    const plan = planLoss({
      pod,
      policy: loss.current(),
      lostForMs: health.lostForMs(peer),
      suspectsItself: suspectsItself(lost),
    });
    if (plan.do === 'wait') return { requeueAfterMs: plan.ms };
    if (plan.do === 'replace') await replace(pod, peer, plan.fenced);
    // It may yet turn out that only some peers are lost.
    return plan.do === 'nothing' && health.lostForMs(peer) !== undefined ? { requeueAfterMs: AGAIN_MS } : {};
  };

  const enqueueAll = (): void => {
    for (const vn of home.virtualNodes.list())
      for (const pod of home.podsOn(vn.metadata.name)) queue.add(keyOf(pod));
  };
  const stop = health.onChange((peer) => {
    for (const vn of home.virtualNodes.list())
      if (vn.spec.peer === peer) for (const pod of home.podsOn(vn.metadata.name)) queue.add(keyOf(pod));
  });
  signal.addEventListener('abort', stop, { once: true });

  void runController(
    {
      name: 'offloading.loss',
      queue,
      workers: 4,
      sources: [
        watchSource(home.pods, ({ type, object }) =>
          type !== 'deleted' && home.virtualNodeOf(object) !== undefined ? [keyOf(object)] : [],
        ),
        watchSource(loss.policies, () => {
          enqueueAll();
          return [];
        }),
      ],
      reads: [home.virtualNodes, home.peers],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
