import {
  ENDPOINT_SLICE_MANAGED_BY,
  LABELS,
  MANAGED_BY,
  NAMES,
  SLICE_MANAGED_BY_LABEL,
  SLICE_SERVICE_LABEL,
} from '../api/labels.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { ensure } from '../runtime/kube/apply.ts';
import { runController, watchSource } from '../runtime/kube/controller.ts';
import { ENDPOINT_SLICE } from '../runtime/kube/resources.ts';
import { keyFor, type EndpointSlice } from '../runtime/kube/types.ts';
import { createWorkQueue } from '../runtime/kube/work-queue.ts';
import { FIELD_MANAGER } from './resources.ts';

/**
 * Points the selectorless Service of the listener at this pod: only the leader listens, and readiness is not leadership.
 * Runs until `signal` aborts; the next leader overwrites what is left.
 */
export const runEndpointController = (
  deps: ControllerDeps,
  port: number,
  signal: AbortSignal,
): Promise<void> => {
  const { client, informers, systemNamespace: namespace } = deps;
  const name = NAMES.peeringService;
  const slices = informers.for<EndpointSlice>(ENDPOINT_SLICE, {
    namespace,
    labelSelector: `${SLICE_SERVICE_LABEL}=${name}`,
  });
  const manifest = {
    metadata: {
      name,
      namespace,
      labels: {
        [SLICE_SERVICE_LABEL]: name,
        [SLICE_MANAGED_BY_LABEL]: ENDPOINT_SLICE_MANAGED_BY,
        [LABELS.managedBy]: MANAGED_BY,
      },
    },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: [deps.podIP],
        conditions: { ready: true, serving: true, terminating: false },
        targetRef: { kind: 'Pod', namespace, name: deps.podName },
      },
    ],
    ports: [{ name: 'peering', protocol: 'TCP', port }],
  } as const;
  const queue = createWorkQueue({ clock: deps.clock });
  queue.add(keyFor(namespace, name));
  return runController(
    {
      name: 'peering.endpoint',
      sources: [watchSource(slices)],
      reconcile: async (key) => {
        if (key !== keyFor(namespace, name)) return;
        const existing = slices.getByKey(key);
        await ensure<EndpointSlice>(client, ENDPOINT_SLICE, manifest, {
          fieldManager: FIELD_MANAGER,
          existing,
          signal,
        });
      },
      queue,
      workers: 1,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
