/** Keeps one twin namespace for each namespace that a consumer opens to this cluster. */
import { PEERING_CLUSTER_ROLE, PEERS_NAMESPACE, LABELS, MANAGED_BY } from '../../api/labels.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import { isAlreadyExists, isForbidden } from '../../runtime/kube/errors.ts';
import { NAMESPACE, ROLE_BINDING } from '../../runtime/kube/resources.ts';
import type { Namespace } from '../../runtime/kube/types.ts';
import { isPeerNews } from './consumers.ts';
import { FIELD_MANAGER, type ProviderContext } from './context.ts';
import { createItemSource } from './item-source.ts';
import {
  forbiddenTwin,
  planTwin,
  readyTwin,
  type TwinMeta,
  type TwinStatus,
  type TwinWorld,
} from './plan-twin.ts';
import { whyNoTwin } from './plan-holdings.ts';
import { homeOfLabels } from './twins.ts';

/** The RoleBinding is applied again this often, whatever happens to it. */
const RESYNC_MS = 600_000;

const keyOfTwin = (namespace: Namespace): readonly string[] => {
  const home = homeOfLabels(namespace);
  return home === undefined ? [] : [`${home.clusterID}/${home.namespace}`];
};

const splitKey = (key: string): { readonly clusterID: string; readonly homeNamespace: string } => {
  const [clusterID = '', homeNamespace = ''] = key.split('/');
  return { clusterID, homeNamespace };
};

/** Runs until `signal` aborts. */
export const runTwinController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, consumers, twins, namespaces, shadows, pods, peers, policies } = context;
  const { client } = deps;
  /** UID of a twin → when its RoleBinding was last applied (monotonic ms). */
  const boundAt = new Map<string, number>();

  const items = createItemSource(context, {
    subscriber: (consumer) => consumer.namespaces,
    publisher: (consumer) => consumer.twins,
    localIds: (clusterID) =>
      twins
        .ofCluster(clusterID)
        .map((namespace) => namespace.metadata.labels?.[LABELS.originNamespace] ?? ''),
    reads: [namespaces, peers, policies, shadows, pods],
    signal,
  });

  const remainingIn = (twin: string): number =>
    [...shadows.list(), ...pods.list()].filter(({ metadata }) => metadata.namespace === twin).length;

  const observe = (clusterID: string, homeNamespace: string): TwinWorld => {
    const consumer = consumers.get(clusterID);
    const namespace = twins.of(clusterID, homeNamespace);
    const wanted = consumer?.namespaces.get(homeNamespace);
    const peerGone = consumers.stateOf(clusterID) === 'gone';
    // Counted only where it matters: it looks at all pods.
    const mayGo = peerGone || wanted === undefined;
    return {
      clusterID,
      peer: consumers.peerOf(clusterID)?.metadata.name ?? '',
      homeNamespace,
      wanted,
      complete: consumer?.namespaces.isComplete() ?? false,
      peerGone,
      twin:
        namespace === undefined
          ? undefined
          : {
              name: namespace.metadata.name,
              terminating: namespace.metadata.deletionTimestamp !== undefined,
              labels: namespace.metadata.labels ?? {},
              annotations: namespace.metadata.annotations ?? {},
            },
      noFurther: whyNoTwin(context.heldLimits(clusterID), twins.ofCluster(clusterID).length),
      reserved: context.reservedNamespaces(clusterID),
      isTaken: (name) => namespaces.get(undefined, name) !== undefined,
      podSecurity: context.podRules(clusterID).level,
      remaining: namespace === undefined || !mayGo ? 0 : remainingIn(namespace.metadata.name),
    };
  };

  const bind = async (twin: string, uid: string, clusterID: string): Promise<void> => {
    const now = deps.clock.monotonicMs();
    if (now - (boundAt.get(uid) ?? -Infinity) < RESYNC_MS) return;
    await client.apply(
      ROLE_BINDING,
      {
        metadata: {
          name: PEERING_CLUSTER_ROLE,
          namespace: twin,
          labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.origin]: clusterID },
        },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: PEERING_CLUSTER_ROLE },
        subjects: [{ kind: 'ServiceAccount', name: clusterID, namespace: PEERS_NAMESPACE }],
      } as Parameters<typeof client.apply>[1],
      { fieldManager: FIELD_MANAGER, force: true, signal },
    );
    boundAt.set(uid, now);
  };

  const create = async (name: string, meta: TwinMeta): Promise<Namespace | undefined> => {
    try {
      return await client.create<Namespace>(
        NAMESPACE,
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name, ...meta } },
        { fieldManager: FIELD_MANAGER, signal },
      );
    } catch (error) {
      // Somebody took the name meanwhile: the cache will say so, and the next plan picks another.
      if (isAlreadyExists(error)) return undefined;
      throw error;
    }
  };

  /** A missing right may be one that isn't known everywhere yet, right after an installation: it is asked for soon again. */
  const soon = async (key: string): Promise<ReconcileResult | void> => {
    try {
      return await reconcile(key);
    } catch (error) {
      if (!isForbidden(error)) throw error;
      const { clusterID, homeNamespace } = splitKey(key);
      // One that stands goes on with what it has.
      if (twins.of(clusterID, homeNamespace) === undefined)
        consumers.get(clusterID)?.twins.set(homeNamespace, forbiddenTwin());
      throw new FluviaError(ERROR_CODES.FORBIDDEN, messageOf(error), { kind: 'waiting', cause: error });
    }
  };

  const reconcile = async (key: string): Promise<ReconcileResult | void> => {
    const { clusterID, homeNamespace } = splitKey(key);
    const world = observe(clusterID, homeNamespace);
    const plan = planTwin(world);
    const publisher = consumers.get(clusterID)?.twins;
    const publish = (status: TwinStatus): void => {
      publisher?.set(homeNamespace, status);
      items.done(key);
    };
    const ready = (name: string): TwinStatus =>
      readyTwin(name, homeNamespace, context.refusals.inNamespace(clusterID, homeNamespace));
    switch (plan.action) {
      case 'none':
        return undefined;
      case 'forget':
        publisher?.delete(homeNamespace);
        items.done(key);
        return undefined;
      case 'wait':
        publish(plan.status);
        return undefined;
      case 'refuse':
        publish(plan.status);
        // A taken name may become free without a word to this key.
        return { requeueAfterMs: 15_000 };
      case 'drain':
        publish(plan.status);
        // Its shadows are ended as the peering, for which that needs its rights to the last.
        await bind(plan.name, twins.of(clusterID, homeNamespace)?.metadata.uid ?? '', clusterID);
        return { requeueAfterMs: 1000 };
      case 'delete': {
        publish(plan.status);
        const uid = twins.of(clusterID, homeNamespace)?.metadata.uid;
        await client.delete(NAMESPACE, plan.name, undefined, { uid, signal });
        deps.log.info('twin deleted', { twin: plan.name, cluster: clusterID });
        return undefined;
      }
      case 'create': {
        const made = await create(plan.name, plan.meta);
        if (made === undefined) return { requeueAfterMs: 500 };
        await bind(plan.name, made.metadata.uid ?? '', clusterID);
        publish(ready(plan.name));
        deps.log.info('twin made', { twin: plan.name, cluster: clusterID, homeNamespace });
        return { requeueAfterMs: RESYNC_MS };
      }
      case 'keep':
        if (plan.meta !== undefined) {
          await client.patch(
            NAMESPACE,
            plan.name,
            undefined,
            { metadata: plan.meta },
            { type: 'merge', fieldManager: FIELD_MANAGER, signal },
          );
        }
        await bind(plan.name, twins.of(clusterID, homeNamespace)?.metadata.uid ?? '', clusterID);
        publish(ready(plan.name));
        return { requeueAfterMs: RESYNC_MS };
    }
  };

  const twinsOfPeer = (clusterID: string): readonly string[] => [
    ...twins.ofCluster(clusterID).flatMap(keyOfTwin),
    ...[...(consumers.get(clusterID)?.namespaces.entries().keys() ?? [])].map((id) => `${clusterID}/${id}`),
  ];

  return runController(
    {
      name: 'offloading.twin',
      sources: [
        items,
        context.refusals.source,
        watchSource(namespaces, ({ object, old }) => [...keyOfTwin(object), ...(old ? keyOfTwin(old) : [])]),
        watchSource(peers, (change) => (isPeerNews(change) ? twinsOfPeer(change.object.spec.clusterID) : [])),
        watchSource(policies, () => namespaces.list().flatMap(keyOfTwin)),
      ],
      reads: [shadows, pods],
      reconcile: soon,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
