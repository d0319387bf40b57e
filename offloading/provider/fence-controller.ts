/**
 * The provider's side of the fence: asks homes for leases while it runs pods that need one, and passes each agent's ask and
 * its answer on. What the leases mean for a pod is decided by the shadow controller.
 */
import { FENCE_ANSWERS, FENCE_ASKS, FENCE_ID, type FenceAnswer } from '../../api/fence-collections.ts';
import { ANNOTATIONS, LABELS } from '../../api/labels.ts';
import type { PeerLink } from '../../api/link.ts';
import { systemBootClock } from '../../runtime/boot-clock.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { isNotFound } from '../../runtime/kube/errors.ts';
import { fetchAgentLeases } from './agent-leases.ts';
import { FABRIC_NODE, SHADOWS_BY_ORIGIN, type ProviderContext } from './context.ts';
import { askEveryMs, planAsks, planNodeFences, type FencedPod } from './plan-fence.ts';

/** How often leases are looked at: a stop begins this late at most. */
const TICK_MS = 250;
const FENCE_FIELD_MANAGER = 'fluvia-fence';
/** Agents that a new leader asks. */
const MAX_AGENTS = 32;
/** What a new leader leaves its link for a first answer, before pods without a lease stop. */
const BEGIN_MS = 3000;
/** Until the first answer tells L. */
const FIRST_LEASE_SECONDS = 5;

/** Whether this cluster runs, or is to run, pods of the consumer that need a lease. */
const hasFenced = (context: ProviderContext, clusterID: string): boolean => {
  const shadows = context.shadows.byIndex(SHADOWS_BY_ORIGIN, clusterID);
  if (shadows.some(({ spec }) => spec.fence !== undefined)) return true;
  const items = context.consumers.get(clusterID)?.shadows.entries().values() ?? [];
  return [...items].some(({ fence }) => fence !== undefined);
};

const fencedPods = (context: ProviderContext): readonly FencedPod[] =>
  context.pods.list().flatMap((pod) => {
    const { name, namespace, labels, annotations } = pod.metadata;
    const clusterID = labels?.[LABELS.origin];
    const uid = annotations?.[ANNOTATIONS.originUID];
    const node = pod.spec.nodeName;
    const isFenced = context.shadows.get(namespace, name)?.spec.fence !== undefined;
    return isFenced && clusterID !== undefined && uid !== undefined && node ? [{ clusterID, uid, node }] : [];
  });

/** Cluster → UIDs at home of all pods that need a lease. */
const fencedUIDs = (context: ProviderContext): Readonly<Record<string, readonly string[]>> => {
  const fenced = context.shadows.list().flatMap(({ spec }) => (spec.fence === undefined ? [] : [spec.home]));
  const byCluster = Map.groupBy(fenced, ({ clusterID }) => clusterID);
  return Object.fromEntries([...byCluster].map(([id, pods]) => [id, pods.map(({ uid }) => uid)]));
};

/** Runs until `signal` aborts. */
export const runFenceController = async (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, consumers, fabricNodes, leases } = context;
  const bootMs = deps.bootClock ?? systemBootClock;
  const answers = new Map<string, FenceAnswer>();
  const askedAt = new Map<PeerLink, number>();
  const asks = new Map<PeerLink, { readonly own: number; told: Readonly<Record<string, number>> }>();
  let isRelaying = false;

  const askHome = (link: PeerLink): void => {
    const now = bootMs();
    const every = askEveryMs(answers.get(link.clusterID)?.leaseSeconds ?? FIRST_LEASE_SECONDS);
    const before = asks.get(link);
    const isDue = before === undefined || now - (askedAt.get(link) ?? 0) >= every;
    const own = isDue ? leases.ask(link.clusterID) : before.own;
    if (isDue) askedAt.set(link, now);
    const told = planAsks(own, fabricNodes.list());
    if (equalJson(before?.told, told)) return;
    asks.set(link, { own, told });
    const publisher = link.publish(FENCE_ASKS);
    publisher.set(FENCE_ID, { asks: told });
    publisher.markComplete();
  };

  /** Writes what changed for the agents; one round at a time, the next tick sees what came meanwhile. */
  const relay = async (): Promise<void> => {
    const wanted = planNodeFences(fencedPods(context), answers);
    for (const node of fabricNodes.list()) {
      const { name, deletionTimestamp } = node.metadata;
      const fence = wanted.get(name) ?? [];
      if (deletionTimestamp !== undefined || equalJson(node.spec.fence ?? [], fence)) continue;
      const manifest = { metadata: { name }, spec: fence.length === 0 ? {} : { fence } };
      const options = { fieldManager: FENCE_FIELD_MANAGER, force: true, signal };
      await deps.client.apply(FABRIC_NODE, manifest, options).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    }
  };

  const tick = (): void => {
    leases.expire();
    for (const { link } of consumers.list()) {
      if (!link.isUp()) {
        // The first ask after a break is a new one: an old one would give a lease that is half over.
        asks.delete(link);
      } else if (hasFenced(context, link.clusterID)) {
        askHome(link);
      }
    }
    if (isRelaying) return;
    isRelaying = true;
    relay()
      .catch((err: unknown) => {
        if (!signal.aborted)
          deps.log.warn('leases not passed to the agents', { controller: 'offloading.fence', err });
      })
      .finally(() => {
        isRelaying = false;
      });
  };

  const adopt = async (): Promise<void> => {
    const pods = fencedUIDs(context);
    if (Object.keys(pods).length === 0) return;
    const nodes = fabricNodes.list().slice(0, MAX_AGENTS);
    await Promise.all(
      nodes.map(async ({ spec }) => {
        const sentAt = bootMs();
        const told = await fetchAgentLeases(spec.nodeAddress, pods, signal);
        for (const [clusterID, left] of told) leases.adopt(clusterID, sentAt, left);
      }),
    );
  };

  const stop = consumers.onConsumer(({ link }) => {
    const subscriber = link.follow(FENCE_ANSWERS);
    const hear = (): void => {
      const answer = subscriber.get(FENCE_ID);
      if (answer === undefined) return;
      answers.set(link.clusterID, answer);
      leases.hear(link.clusterID, answer);
    };
    const stopHearing = subscriber.onChange(hear);
    link.signal.addEventListener('abort', stopHearing, { once: true });
    hear();
  });
  signal.addEventListener('abort', stop, { once: true });

  const reads = [context.shadows, context.pods, fabricNodes];
  await Promise.all(reads.map((one) => one.whenSynced(signal)));
  const beganAt = bootMs();
  await adopt();
  let isBegun = false;
  while (!signal.aborted) {
    tick();
    if (!isBegun && bootMs() - beganAt >= BEGIN_MS) {
      isBegun = true;
      leases.begin(
        Map.groupBy(context.shadows.list(), ({ spec }) => spec.home.clusterID)
          .entries()
          .reduce(
            (all, [id, shadows]) => all.set(id, new Set(shadows.map(({ spec }) => spec.home.uid))),
            new Map<string, ReadonlySet<string>>(),
          ),
      );
    }
    await deps.clock.sleep(TICK_MS, signal);
  }
};
