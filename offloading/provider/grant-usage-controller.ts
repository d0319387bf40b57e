/** Keeps `status.used` of each Grant true. */
import type { Grant } from '../../api/v1alpha1/grant.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource } from '../../runtime/kube/controller.ts';
import { keyOf } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { FIELD_MANAGER, GRANT, type ProviderContext } from './context.ts';
import { formatAmounts, podAmounts, type Amounts, type CountedPod } from './plan-quota.ts';

/** Changes within this time are one write. */
const GATHER_MS = 500;

const amountsOf = (shadow: ShadowPod): Amounts => {
  try {
    return podAmounts(shadow.spec.pod.spec as unknown as CountedPod);
  } catch {
    // It was checked when it was accepted; by hand anything can be written into it.
    return { pods: 1 };
  }
};

/** Enters what exists into the ledger, from now on and as long as `signal` doesn't abort. */
export const feedLedger = (context: ProviderContext, signal: AbortSignal): void => {
  const { ledger, shadows } = context;
  const stop = shadows.onChange(({ type, object }) => {
    const ended = object.status?.phase === 'Succeeded' || object.status?.phase === 'Failed';
    if (type === 'deleted' || ended) ledger.release(keyOf(object));
    else {
      const { grant, home } = object.spec;
      ledger.record(keyOf(object), { grant, consumer: home.clusterID }, amountsOf(object));
    }
  });
  signal.addEventListener('abort', stop, { once: true });
};

/** What is shown: each resource of the grant, and whatever else is counted. */
const usedOf = (grant: Grant, used: Amounts): Readonly<Record<string, string>> =>
  formatAmounts({
    ...Object.fromEntries(Object.keys(grant.spec.resources).map((resource) => [resource, 0])),
    ...used,
  });

/** Runs until `signal` aborts. */
export const runGrantUsageController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, grants, ledger, shadows } = context;
  const queue = createWorkQueue({ clock: deps.clock });
  const stop = ledger.onChange(({ grant }) => queue.addAfter(grant, GATHER_MS));
  signal.addEventListener('abort', stop, { once: true });
  const reconcile = async (name: string): Promise<void> => {
    const grant = grants.get(undefined, name);
    if (grant === undefined) return;
    const used = usedOf(grant, ledger.usedBy(name));
    if (equalJson(grant.status?.used, used)) return;
    // A merge patch keeps what isn't named: a resource that is used no more must be removed by name.
    const gone = Object.keys(grant.status?.used ?? {}).filter((resource) => !Object.hasOwn(used, resource));
    const patch = {
      status: { used: { ...used, ...Object.fromEntries(gone.map((resource) => [resource, null])) } },
    };
    await deps.client.patch(GRANT, name, undefined, patch, {
      type: 'merge',
      subresource: 'status',
      fieldManager: FIELD_MANAGER,
      signal,
    });
  };
  return runController(
    {
      name: 'offloading.grant-usage',
      sources: [watchSource(grants)],
      reads: [shadows],
      reconcile,
      workers: 1,
      queue,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
