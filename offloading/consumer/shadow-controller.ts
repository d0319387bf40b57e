import { SHADOW_STATUS, SHADOWS } from '../../api/collections.ts';
import { FINALIZERS } from '../../api/labels.ts';
import type { ItemOf, Links, PeerLink } from '../../api/link.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import { seenAs } from '../../api/views.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { addFinalizer, isDeleting, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import type { Exclusions } from './exclusions.ts';
import { FIELD_MANAGER, type Home } from './home.ts';
import type { HomeFence } from './home-fence.ts';
import type { LinkHealth } from './link-health.ts';
import { isHeld, needsHold, planRelease, type LossPolicy } from './plan-loss.ts';
import { planShadow, type ShadowAction } from './plan-shadow.ts';
import {
  changesStatus,
  isTerminal,
  planFailedStatus,
  planHeldStatus,
  planLostStatus,
  planPodStatus,
} from './plan-status.ts';
import type { Reflection } from './reflection-controller.ts';
import { translatePod } from './translate-pod.ts';

export interface ShadowControllerOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly health: LinkHealth;
  readonly reflection: Reflection;
  readonly exclusions: Exclusions;
  readonly policy: () => LossPolicy;
  readonly fence: HomeFence;
}

/** The provider's reason for a pod that waits for a ConfigMap or Secret. */
const MISSING = 'MissingReference';

/** How long the pods of a peering that ends may take to end over there, until home goes on without the peer's word. */
const DRAIN_MS = 60_000;

/** Publishes pods that are bound to virtual nodes and brings their status back. Keyed by pod. */
export const startShadows = (options: ShadowControllerOptions, signal: AbortSignal): void => {
  const { deps, home, links, health, reflection, exclusions, policy, fence } = options;
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });

  const toldOf = (link: PeerLink | undefined, pod: Pod) => {
    const told = link?.follow(SHADOW_STATUS).get(keyOf(pod));
    return told?.uid === pod.metadata.uid ? told : undefined;
  };

  const decide = (pod: Pod, vn: VirtualNode, link: PeerLink | undefined): ShadowAction => {
    const peer = home.peers.get(undefined, vn.spec.peer);
    const isEnding = peer === undefined || isDeleting(peer);
    const endsSince = Date.parse(peer?.metadata.deletionTimestamp ?? '');
    const isOverdue = deps.clock.now().getTime() - endsSince > DRAIN_MS;
    return planShadow({
      pod,
      isOpen: home.offloadingOf(pod.metadata.namespace ?? '') !== undefined,
      hasLink: link !== undefined,
      isPeerGone: isEnding && (isOverdue || link === undefined || health.state(vn.spec.peer) === 'lost'),
      told: toldOf(link, pod),
    });
  };

  /** Takes the pod from home's API for good, or says when that may be: a fenced one is held while a copy may run. */
  const forceDelete = async (pod: Pod, isToldOver: boolean): Promise<ReconcileResult> => {
    const { name, namespace, uid } = pod.metadata;
    const { waitMs } = planRelease({ pod, isToldOver, untilSafeMs: fence.untilSafeMs(pod) });
    if (waitMs > 0) return { requeueAfterMs: waitMs };
    // A leader that was asleep may have a successor, which has answered since.
    if (deps.isLeading?.() === false) return { requeueAfterMs: 1000 };
    await client
      .delete(POD, name, namespace, { uid, gracePeriodSeconds: 0, signal })
      .catch((error: unknown) => {
        if (!isConflict(error)) throw error;
      });
    if (!isHeld(pod)) return {};
    fence.release(pod);
    const newest = await client.get<Pod>(POD, name, namespace, { signal });
    if (newest !== undefined && newest.metadata.uid === uid)
      await removeFinalizer(client, POD, newest, FINALIZERS.floated, { signal });
    return {};
  };

  const isOver = (link: PeerLink | undefined, pod: Pod): boolean => {
    const state = toldOf(link, pod)?.state;
    return state === 'gone' || state === 'refused';
  };

  const writeStatus = async (pod: Pod, status: Readonly<Record<string, unknown>>): Promise<void> => {
    if (!changesStatus(pod.status, status, equalJson)) return;
    const { name, namespace, uid, resourceVersion } = pod.metadata;
    const body = { metadata: { uid, resourceVersion }, status };
    await client
      .patch(POD, name, namespace, body, {
        type: 'merge',
        subresource: 'status',
        fieldManager: FIELD_MANAGER,
        signal,
      })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  };

  /** Why a pod that the peer has accepted isn't made there: it waits for something that home doesn't send. */
  const waitsFor = (pod: Pod, told: ItemOf<typeof SHADOW_STATUS>): string | undefined => {
    if (told.reason !== MISSING || told.state !== 'accepted') return undefined;
    const missing = reflection.missingFor(pod);
    return missing.length === 0 ? undefined : missing.join('; ');
  };

  /** Says once for each cause why the pod doesn't start. */
  const tellMissing = (pod: Pod, status: Readonly<Record<string, unknown>> | undefined): void => {
    const { reason, message } = status ?? {};
    if (reason !== MISSING || typeof message !== 'string' || pod.status?.['message'] === message) return;
    deps.events.record(pod, { type: 'Warning', reason: MISSING, action: 'StartPod', note: message });
  };

  /** The status as the provider told it; with a lost peer the pod is not ready, whatever it told last. */
  const statusOf = (pod: Pod, vn: VirtualNode, link: PeerLink | undefined) => {
    const told = toldOf(link, pod);
    const state = health.state(vn.spec.peer);
    const now = deps.clock.now().toISOString();
    if (told === undefined) return state === 'lost' ? planLostStatus(pod, now) : undefined;
    const view = home.views.get(undefined, vn.spec.peer);
    const podIP = told.podIP !== undefined && view ? seenAs(view.spec.theirs, told.podIP) : undefined;
    const isLost = state === 'lost';
    return planPodStatus({
      pod,
      told,
      podIP,
      hostIP: deps.podIP,
      waitsFor: waitsFor(pod, told),
      isLost,
      now,
    });
  };

  const fenced = (pod: Pod, item: ItemOf<typeof SHADOWS>): ItemOf<typeof SHADOWS> =>
    isHeld(pod) ? { ...item, fence: { stopSeconds: policy().stopSeconds } } : item;

  const publish = (pod: Pod, vn: VirtualNode, link: PeerLink): boolean => {
    // It is held before its peer hears of it.
    if (needsHold(pod, policy())) return false;
    // What it refers to goes first, so that it is there before the pod.
    if (!reflection.publishFor(link, pod)) return false;
    link.publish(SHADOWS).set(keyOf(pod), fenced(pod, translatePod(pod, vn.metadata.name, vn.spec.claim)));
    return true;
  };

  const act = async (
    action: ShadowAction,
    pod: Pod,
    vn: VirtualNode,
    link: PeerLink | undefined,
  ): Promise<ReconcileResult> => {
    const status = statusOf(pod, vn, link);
    if (action.do === 'replace' || action.do === 'fail') {
      exclusions.exclude(pod, vn.spec.peer, action.reason, action.message);
      deps.events.record(pod, {
        type: 'Warning',
        reason: action.reason,
        note: `peer ${vn.spec.peer}: ${action.message}`,
      });
      if (action.do === 'replace') return forceDelete(pod, true);
      else {
        const final = status !== undefined && isTerminal(String(status['phase'])) ? status : undefined;
        await writeStatus(pod, final ?? planFailedStatus(action.reason, action.message));
      }
      return {};
    }
    if (action.do === 'hold') {
      const held = planHeldStatus(pod, vn.spec.peer, action, deps.clock.now().toISOString());
      if (pod.status?.['message'] !== held['message'])
        deps.events.record(pod, { type: 'Warning', reason: action.reason, note: String(held['message']) });
      await writeStatus(pod, held);
    }
    tellMissing(pod, status);
    if (status !== undefined) await writeStatus(pod, status);
    if (action.do === 'forget') {
      const waits = await forceDelete(pod, isOver(link, pod));
      if (waits.requeueAfterMs !== undefined) return waits;
    }
    // Held while its peer says nothing: the safe time comes by itself.
    if (isDeleting(pod) && isHeld(pod) && health.state(vn.spec.peer) === 'lost') {
      const waits = await forceDelete(pod, isOver(link, pod));
      return { requeueAfterMs: waits.requeueAfterMs ?? 1000 };
    }
    if (action.do === 'withdraw') {
      link?.publish(SHADOWS).delete(keyOf(pod));
      deps.events.record(pod, {
        type: 'Warning',
        reason: 'NotFloatable',
        note: `it is bound to virtual node ${vn.metadata.name}, but its namespace is not open to peers`,
      });
    }
    const isWanted = action.do === 'publish' || action.do === 'hold';
    if (isWanted && needsHold(pod, policy())) {
      await addFinalizer(client, POD, pod, FINALIZERS.floated, { signal });
      return { requeueAfterMs: 1000 };
    }
    if (isWanted && link !== undefined && !publish(pod, vn, link)) return { requeueAfterMs: 200 };
    return isDeleting(pod) ? { requeueAfterMs: DRAIN_MS / 4 } : {};
  };

  const reconcile = async (key: string): Promise<ReconcileResult> => {
    const pod = home.pods.getByKey(key);
    const vn = pod && home.virtualNodeOf(pod);
    for (const link of links.list()) {
      if (link.peer !== vn?.spec.peer) link.publish(SHADOWS).delete(key);
    }
    if (pod === undefined) return {};
    if (vn === undefined) {
      // Its virtual node was taken away, by force: whether it still runs there, nobody can be asked.
      if (!isHeld(pod) || !pod.spec.nodeName) return {};
      return isDeleting(pod) ? forceDelete(pod, false) : { requeueAfterMs: DRAIN_MS };
    }
    const link = links.get(vn.spec.peer);
    return act(decide(pod, vn, link), pod, vn, link);
  };

  const podsAt = (peer: string): readonly Pod[] =>
    home.virtualNodes
      .list()
      .filter((vn) => vn.spec.peer === peer)
      .flatMap((vn) => home.podsOn(vn.metadata.name));
  const enqueuePeer = (peer: string): void => {
    for (const pod of podsAt(peer)) queue.add(keyOf(pod));
  };

  /** A link's first picture: nothing is deleted over there before all pods have been looked at once. */
  const publishAll = async (link: PeerLink): Promise<void> => {
    const namespaces = new Set(podsAt(link.peer).map((pod) => pod.metadata.namespace ?? ''));
    await reflection.whenReady(namespaces, AbortSignal.any([signal, link.signal]));
    for (const pod of podsAt(link.peer)) {
      const vn = home.virtualNodeOf(pod);
      const wanted = vn === undefined ? undefined : decide(pod, vn, link).do;
      if (vn !== undefined && (wanted === 'publish' || wanted === 'hold')) publish(pod, vn, link);
    }
    link.publish(SHADOWS).markComplete();
    enqueuePeer(link.peer);
  };

  links.onLink((link) => {
    publishAll(link).catch((err: unknown) => {
      if (!signal.aborted && !link.signal.aborted)
        deps.log.error('pods not published', { peer: link.peer, err });
    });
    link.follow(SHADOW_STATUS).onChange((id) => (id === undefined ? enqueuePeer(link.peer) : queue.add(id)));
  });
  health.onChange(enqueuePeer);

  void runController(
    {
      name: 'offloading.shadow',
      queue,
      workers: 8,
      sources: [
        // Bound pods, and those that are gone: an unbound pod has nothing to say here.
        watchSource(home.pods, ({ object }) =>
          home.virtualNodeOf(object) === undefined && !isHeld(object) ? [] : [keyOf(object)],
        ),
        watchSource(home.views, ({ object }) => podsAt(object.metadata.name).map(keyOf)),
        watchSource(home.peers, ({ object }) => podsAt(object.metadata.name).map(keyOf)),
        watchSource(home.offloadings, ({ object }) =>
          home
            .podsIn(object.metadata.namespace ?? '')
            .filter((pod) => home.virtualNodeOf(pod))
            .map(keyOf),
        ),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
