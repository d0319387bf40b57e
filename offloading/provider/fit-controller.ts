/** Tells consumers what would fit here now: gathered, at most one answer in a second, true within two of a change. */
import { FITS } from '../../api/fits-collection.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { NODE, POD } from '../../runtime/kube/resources.ts';
import { keyOf, type Node, type Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import type { ProviderContext } from './context.ts';
import { isUsable, planFits, roomOfNodes, type FitNode, type FitPod } from './plan-fits.ts';
import {
  amountsGiven,
  leftTogether,
  podAmounts,
  subtractAmounts,
  type Amounts,
  type CountedPod,
} from './plan-quota.ts';

const KEY = 'fits';
const INTERVAL_MS = 1000;

const takesRoom = ({ status }: Pod): boolean => status?.phase !== 'Succeeded' && status?.phase !== 'Failed';

/** Runs until `signal` aborts. */
export const runFitController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, consumers, grants, shadows, ledger } = context;
  const nodes = deps.informers.for<Node>(NODE);
  const pods = deps.informers.for<Pod>(POD);
  const queue = createWorkQueue({ clock: deps.clock });
  const said = new WeakMap<object, Map<string, string>>();
  const known = new WeakMap<object, Amounts>();
  let lastAt = -Infinity;

  const amountsOf = (spec: object): Amounts => {
    const found = known.get(spec);
    if (found !== undefined) return found;
    let amounts: Amounts = { pods: 1 };
    try {
      amounts = podAmounts(spec as unknown as CountedPod);
    } catch {
      // Negative or odd quantities of a foreign kind of pod: it takes a place, more is not known.
    }
    known.set(spec, amounts);
    return amounts;
  };

  const allocatableOf = (node: Node): Amounts => {
    try {
      return amountsGiven(node.status?.allocatable);
    } catch {
      return {};
    }
  };

  const liveShadows = () =>
    shadows.list().filter(({ status }) => status?.phase !== 'Succeeded' && status?.phase !== 'Failed');

  const observeNodes = (): readonly FitNode[] =>
    nodes.list().map((node) => ({
      name: node.metadata.name,
      labels: node.metadata.labels ?? {},
      usable: isUsable(node),
      allocatable: allocatableOf(node),
    }));

  const observePods = (): readonly FitPod[] => [
    ...pods
      .list()
      .filter((pod) => pod.spec.nodeName && takesRoom(pod))
      .map((pod) => ({ node: pod.spec.nodeName, amounts: amountsOf(pod.spec) })),
    // Accepted, but not bound (or not even made) yet.
    ...liveShadows()
      .filter((shadow) => !pods.getByKey(keyOf(shadow))?.spec.nodeName)
      .map((shadow) => ({ node: undefined, amounts: amountsOf(shadow.spec.pod.spec) })),
  ];

  const reconcile = async (): Promise<ReconcileResult> => {
    const now = deps.clock.monotonicMs();
    if (now - lastAt < INTERVAL_MS) return { requeueAfterMs: INTERVAL_MS - (now - lastAt) };
    lastAt = now;
    const rooms = roomOfNodes({ nodes: observeNodes(), pods: observePods() });
    const byGrant = Map.groupBy(liveShadows(), ({ spec }) => spec.grant);
    for (const { link } of consumers.list()) {
      const publisher = link.publish(FITS);
      const mine = grants.list().filter(({ spec }) => spec.peer === link.peer);
      const before = said.get(link) ?? new Map<string, string>();
      said.set(link, before);
      for (const grant of mine) {
        const counted = (byGrant.get(grant.metadata.name) ?? [])
          .toSorted(
            (a, b) =>
              (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '') ||
              (a.spec.home.uid < b.spec.home.uid ? -1 : 1),
          )
          .map(({ spec }) => spec.home.uid);
        const left = subtractAmounts(amountsGiven(grant.spec.resources), ledger.usedBy(grant.metadata.name));
        const own = { ...usedUp(grant.spec.resources), ...left };
        const inAll = leftTogether(own, grant.spec.peerMaximum, ledger.usedByConsumer(link.clusterID));
        // What is used up is given no more: a resource that is left out of `left` is not given at all.
        const item = planFits(rooms, { left: inAll, counted });
        const text = JSON.stringify(item);
        if (before.get(grant.spec.claim) === text) continue;
        before.set(grant.spec.claim, text);
        publisher.set(grant.spec.claim, item);
      }
      const claims = new Set(mine.map(({ spec }) => spec.claim));
      for (const id of publisher.ids()) {
        if (claims.has(id)) continue;
        publisher.delete(id);
        before.delete(id);
      }
      publisher.markComplete();
    }
    return {};
  };

  const always = (): string[] => [KEY];
  const stops = [ledger.onChange(() => queue.add(KEY)), consumers.onConsumer(() => queue.add(KEY))];
  signal.addEventListener('abort', () => stops.forEach((stop) => stop()), { once: true });
  return runController(
    {
      name: 'offloading.fits',
      queue,
      workers: 1,
      sources: [
        watchSource(nodes, always),
        watchSource(grants, always),
        watchSource(shadows, always),
        // Of a pod only where it is and whether it takes room matters.
        watchSource(pods, (change) => {
          const { type, object } = change;
          if (type !== 'updated') return object.spec.nodeName ? [KEY] : [];
          const { old } = change;
          return old.spec.nodeName !== object.spec.nodeName || takesRoom(old) !== takesRoom(object)
            ? [KEY]
            : [];
        }),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};

const usedUp = (resources: Readonly<Record<string, string>>): Amounts =>
  Object.fromEntries(Object.keys(resources).map((resource) => [resource, 0]));
