/** Keeps the pods of consumers alive: item → ShadowPod → Pod, and their state back. One key per home pod. */
import { LABELS } from '../../api/labels.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { POD } from '../../runtime/kube/resources.ts';
import type { HasMetadata } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { heldKey } from './holdings.ts';
import { isPeerNews } from './consumers.ts';
import { FIELD_MANAGER, SHADOW_POD, SHADOWS_BY_ORIGIN, type ProviderContext } from './context.ts';
import { createItemSource } from './item-source.ts';
import { createRetryDelays } from './retry-delays.ts';
import { asPeeringCall } from './peering-errors.ts';
import { bytesOf, podHolding } from './plan-holdings.ts';
import { podMeta } from './plan-pod.ts';
import { mapPatch } from './plan-meta-patch.ts';
import { planShadow, type ShadowPlan } from './plan-shadow.ts';
import { refusedStatus } from './plan-status.ts';
import { admitShadow } from './shadow-admission.ts';
import { createShadowPod, deleteShadowPod, objectTopic } from './shadow-pods.ts';
import { openTopic, recordFailure, reportShadow, writeShadowStatus } from './shadow-report.ts';
import { observeShadow, type ShadowItem, type ShadowState } from './shadow-state.ts';
import { createWaiters } from './waiters.ts';

const grantTopic = (grant: string): string => `grant:${grant}`;
/** A missing object is looked for again this often, in case it isn't one of ours. */
const LOOK_AGAIN_MS = 10_000;
/** So many waiting pods are tried when room comes free; the rest have their turn later. */
const WAKE_AT_ONCE = 256;
const NEXT_TURN_MS = 30_000;
/** Freed room is given out after this, so that a burst of ends is one look. */
const GATHER_MS = 100;

/** A ResourceQuota of this cluster, which says only in words what it is: room may come free. */
const isOfQuota = (message: string): boolean => message.includes('exceeded quota');

const keyOfShadow = ({ spec }: ShadowPod): string =>
  `${spec.home.clusterID}/${spec.home.namespace}/${spec.home.name}`;

type MetaPatch = Partial<Record<'labels' | 'annotations', NonNullable<ReturnType<typeof mapPatch>>>>;

/** Runs until `signal` aborts. */
export const runShadowPodController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const {
    deps,
    consumers,
    twins,
    shadows,
    pods,
    namespaces,
    peers,
    grants,
    offers,
    fabricNodes,
    ledger,
    holdings,
  } = context;
  const queue = createWorkQueue({ clock: deps.clock });
  const waiters = createWaiters((key) => queue.addAfter(key, GATHER_MS));
  const retries = createRetryDelays(deps.clock);

  const items = createItemSource(context, {
    subscriber: (consumer) => consumer.shadows,
    publisher: (consumer) => consumer.statuses,
    localIds: (clusterID) =>
      shadows
        .byIndex(SHADOWS_BY_ORIGIN, clusterID)
        .map(({ spec }) => `${spec.home.namespace}/${spec.home.name}`),
    reads: [shadows, pods, namespaces, peers, grants, offers, fabricNodes, context.policies, context.nodes],
    signal,
  });

  const refuse = (
    state: ShadowState,
    uid: string,
    { reason, message }: { readonly reason: string; readonly message: string },
    isPassing: boolean,
  ): void => {
    state.consumer?.statuses.set(state.id, refusedStatus(uid, reason, message, isPassing));
  };

  /** Whether there is room for a ShadowPod as it is to be; else it is looked at again later. */
  const mayWrite = (state: ShadowState, shadow: ShadowPod): boolean => {
    const held = heldKey('ShadowPod', shadow.metadata.namespace ?? '', state.name);
    const excess = holdings.admit(state.clusterID, held, podHolding(bytesOf(shadow)));
    if (excess !== undefined) queue.addAfter(state.key, excess.retryMs);
    return excess === undefined;
  };

  /** What of a pod's labels and annotations is to be written: nothing while its consumer holds or writes too much. */
  const metaPatch = (state: ShadowState, shadow: ShadowPod, item: ShadowItem): MetaPatch => {
    const wanted = podMeta({ ...item, clusterID: state.clusterID });
    const labels = mapPatch(shadow.spec.pod.labels ?? {}, wanted.labels);
    const annotations = mapPatch(shadow.spec.pod.annotations ?? {}, wanted.annotations);
    if (labels === undefined && annotations === undefined) return {};
    const changed = { ...shadow, spec: { ...shadow.spec, pod: { ...shadow.spec.pod, ...wanted } } };
    return mayWrite(state, changed) ? { ...(labels && { labels }), ...(annotations && { annotations }) } : {};
  };

  /** Labels and annotations may change while a pod runs. */
  const followMeta = async (state: ShadowState, shadow: ShadowPod): Promise<void> => {
    const { item, pod } = state;
    if (item === undefined || item.uid !== shadow.spec.home.uid) return;
    const patch = metaPatch(state, shadow, item);
    const isMeta = Object.keys(patch).length > 0;
    // A pod that runs already has no init container that waits, but stops like any other when its lease ends.
    const fence = equalJson(item.fence, shadow.spec.fence) ? undefined : (item.fence ?? null);
    // Of the size that it has it is never too large: a fence waits only for a consumer that writes without end.
    if (!isMeta && (fence === undefined || !mayWrite(state, shadow))) return;
    const client = context.asPeering(state.clusterID);
    const options = { type: 'merge', fieldManager: FIELD_MANAGER, signal } as const;
    await asPeeringCall(async () => {
      // The pod first: the ShadowPod's record says what is still to be done.
      if (pod !== undefined && isMeta)
        await client.patch(POD, state.name, state.twin, { metadata: patch }, options);
      const spec = { pod: patch, ...(fence === undefined ? {} : { fence }) };
      await client.patch(SHADOW_POD, state.name, state.twin, { spec }, options);
    });
  };

  const closedBecause = ({ world: { fence } }: ShadowState) =>
    fence === undefined || fence.state === 'open'
      ? undefined
      : { reason: 'FenceClosed', message: 'it may start once its home has given it a lease' };

  const report = async (state: ShadowState, waiting?: { reason: string; message: string }): Promise<void> => {
    const { shadow } = state;
    if (shadow === undefined) return;
    await followMeta(state, shadow);
    const { awaitsOpening } = await reportShadow(context, state, shadow, waiting ? { waiting } : {}, signal);
    const peer = consumers.peerOf(state.clusterID)?.metadata.name ?? '';
    if (awaitsOpening) waiters.wait(openTopic(peer), state.key);
    else waiters.stop(openTopic(peer), state.key);
  };

  const admit = async (state: ShadowState): Promise<ReconcileResult | void> => {
    const topic = grantTopic(`${state.consumer?.link.peer ?? ''}-${state.item?.claim ?? ''}`.slice(0, 253));
    // Before the answer, so that room which comes free right after it isn't missed.
    waiters.wait(topic, state.key);
    const admission = await admitShadow(context, state, signal);
    if (admission.accepted || !admission.mayChange) waiters.stop(topic, state.key);
    if (admission.accepted) return { requeueAfterMs: 1000 };
    refuse(state, state.item?.uid ?? '', admission, admission.mayChange);
    deps.log.debug('pod refused', { key: state.key, reason: admission.reason, message: admission.message });
    return undefined;
  };

  const create = async (state: ShadowState, shadow: ShadowPod): Promise<ReconcileResult | void> => {
    const delay = retries.before(state.key);
    const again = shadow.status?.podUID !== undefined || shadow.status?.phase === 'Refused';
    if (again && delay > 0) {
      if (shadow.status?.phase !== 'Refused') await report(state);
      return { requeueAfterMs: delay };
    }
    const creation = await createShadowPod(context, state, shadow, signal);
    if (creation.outcome === 'waiting') {
      waiters.wait(creation.topic, state.key);
      await report(state, { reason: creation.reason, message: creation.message });
      return { requeueAfterMs: LOOK_AGAIN_MS };
    }
    retries.tried(state.key);
    if (creation.outcome === 'created') {
      await report(state);
      return undefined;
    }
    refuse(state, shadow.spec.home.uid, creation, isOfQuota(creation.message));
    deps.events.record(shadow, {
      type: 'Warning',
      reason: creation.reason,
      action: 'CreatePod',
      note: creation.message,
    });
    await writeShadowStatus(context, state.clusterID, shadow, { ...shadow.status, phase: 'Refused' }, signal);
    return { requeueAfterMs: retries.before(state.key) };
  };

  const act = async (state: ShadowState, plan: ShadowPlan): Promise<ReconcileResult | void> => {
    const { shadow } = state;
    switch (plan.action) {
      case 'none':
        return undefined;
      case 'forget':
      case 'publish-gone':
        if (state.twin !== undefined) ledger.release(`${state.twin}/${state.name}`);
        retries.forget(state.key);
        if (plan.action === 'forget') state.consumer?.statuses.delete(state.id);
        else state.consumer?.statuses.set(state.id, { uid: state.item?.uid ?? '', state: 'gone' });
        return undefined;
      case 'refuse':
        // a cordon ends
        refuse(state, state.item?.uid ?? '', plan, true);
        return undefined;
      case 'admit':
        return admit(state);
      case 'delete-pod':
        if (plan.because === 'healing') {
          await report(state);
          deps.log.info('a lost pod is made again', { key: state.key, reason: state.pod?.status?.reason });
        } else if (plan.because === 'fence') {
          deps.log.warn('a pod stops: its home gave no new lease', { key: state.key });
        }
        await deleteShadowPod(context, state, plan.uid, plan.graceSeconds, signal);
        return undefined;
      case 'delete-shadow':
        await asPeeringCall(() =>
          context
            .asPeering(state.clusterID)
            .delete(SHADOW_POD, state.name, state.twin, { uid: plan.uid, signal }),
        );
        return undefined;
      case 'create-pod':
        return shadow === undefined ? undefined : create(state, shadow);
      case 'fail':
        // The record comes back as a change, and is reported then.
        if (shadow !== undefined)
          await recordFailure(context, state, shadow, plan.reason, plan.message, signal);
        return undefined;
      case 'report':
        return report(state, state.pod === undefined ? closedBecause(state) : undefined);
    }
  };

  const reconcile = async (key: string): Promise<ReconcileResult | void> => {
    const state = observeShadow(context, key);
    const result = await act(state, planShadow(state.world));
    items.done(key);
    return result;
  };

  const keysOfTwin = (object: HasMetadata): readonly string[] => {
    const clusterID = object.metadata.labels?.[LABELS.origin];
    const home = object.metadata.labels?.[LABELS.originNamespace];
    if (clusterID === undefined || home === undefined) return [];
    return keysOfPeer(clusterID).filter((key) => key.startsWith(`${clusterID}/${home}/`));
  };
  const keysOfPeer = (clusterID: string): readonly string[] => [
    ...shadows.byIndex(SHADOWS_BY_ORIGIN, clusterID).map(keyOfShadow),
    ...[...(consumers.get(clusterID)?.shadows.entries().keys() ?? [])].map((id) => `${clusterID}/${id}`),
  ];
  const homeKeyOf = (object: HasMetadata): readonly string[] => {
    const key = twins.homeKey(object);
    return key === undefined ? [] : [key];
  };

  const wakers = [
    ledger.onChange((account, freed) => {
      if (!freed) return;
      waiters.wake(grantTopic(account.grant), WAKE_AT_ONCE);
      // What one claim's pods gave back, the others may have: there is one limit for all.
      const peer = consumers.get(account.consumer)?.link.peer;
      for (const { metadata, spec } of grants.list()) {
        if (spec.peer === peer && metadata.name !== account.grant)
          waiters.wake(grantTopic(metadata.name), WAKE_AT_ONCE);
      }
    }),
    grants.onChange(({ object }) => waiters.wake(grantTopic(object.metadata.name))),
    offers.onChange(({ object }) => waiters.wake(openTopic(object.spec.peer))),
    fabricNodes.onChange(() => {
      for (const peer of peers.list()) waiters.wake(openTopic(peer.metadata.name));
    }),
    ...(['ConfigMap', 'Secret'] as const).map((kind) =>
      context.reflected[kind].onChange(({ object: { metadata } }) =>
        waiters.wake(objectTopic(kind, metadata.namespace ?? '', metadata.name)),
      ),
    ),
    context.volumeClaims.onChange(({ object: { metadata } }) =>
      waiters.wake(objectTopic('PersistentVolumeClaim', metadata.namespace ?? '', metadata.name)),
    ),
    context.leases.onChange((clusterID, uids) => {
      for (const shadow of shadows.byIndex(SHADOWS_BY_ORIGIN, clusterID))
        if (uids.has(shadow.spec.home.uid)) queue.add(keyOfShadow(shadow));
    }),
    consumers.onConsumer((consumer) => {
      const stop = consumer.namespaces.onChange((id) => {
        for (const key of keysOfPeer(consumer.clusterID)) {
          if (id === undefined || key.startsWith(`${consumer.clusterID}/${id}/`)) queue.add(key);
        }
      });
      consumer.link.signal.addEventListener('abort', stop, { once: true });
    }),
  ];
  signal.addEventListener('abort', () => wakers.forEach((stop) => stop()), { once: true });

  /** Small pods behind large ones that don't fit have their turn, too. */
  const takeTurns = async (): Promise<void> => {
    while (!signal.aborted) {
      await deps.clock.sleep(NEXT_TURN_MS, signal);
      for (const topic of waiters.topics().filter((one) => one.startsWith(grantTopic('')))) {
        waiters.wake(topic, WAKE_AT_ONCE);
      }
    }
  };
  void takeTurns();

  return runController(
    {
      name: 'offloading.shadow',
      sources: [
        items,
        watchSource(shadows, ({ object }) => [keyOfShadow(object)]),
        watchSource(pods, ({ object }) => homeKeyOf(object)),
        watchSource(namespaces, ({ object, type, old }) =>
          type === 'updated' && old.metadata.deletionTimestamp === object.metadata.deletionTimestamp
            ? []
            : keysOfTwin(object),
        ),
        watchSource(peers, (change) => (isPeerNews(change) ? keysOfPeer(change.object.spec.clusterID) : [])),
      ],
      reads: [
        grants,
        offers,
        fabricNodes,
        context.policies,
        context.nodes,
        ...Object.values(context.reflected),
        context.volumeClaims,
      ],
      reconcile,
      workers: 4,
      queue,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
