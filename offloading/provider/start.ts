/**
 * The provider's side of offloading: twins, shadows, the quota, Offers of their addresses, reflected objects, and streams
 * into containers. What is done for a peer is done as that peering's ServiceAccount, so that RBAC, quota, admission and
 * audit of this cluster see the peer.
 *
 * The ClusterRole `fluvia-peering` is bound in each twin namespace, and only there, to ServiceAccount
 * `fluvia-peers/<cluster ID>`. That account needs no token, and may even not exist: it is impersonated. No `impersonate` on
 * users or groups: for a service account the API server adds its groups by itself when the request names none (kubernetes:
 * apiserver/pkg/endpoints/filters/impersonation), so the client names none.
 *
 * RBAC that this folder needs is in `deploy/manifests/rbac.ts`, each block with its reason.
 */
import { messageOf } from '../../api/errors.ts';
import type { Links } from '../../api/link.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createContainerStreamHandler } from './container-streams.ts';
import { createContext } from './context.ts';
import { runFenceController } from './fence-controller.ts';
import { runFitController } from './fit-controller.ts';
import { feedHoldings } from './holdings.ts';
import { feedLedger, runGrantUsageController } from './grant-usage-controller.ts';
import { runObjectController } from './object-controller.ts';
import { runOfferController } from './offer-controller.ts';
import { runShadowPodController } from './shadow-pod-controller.ts';
import { runTwinController } from './twin-controller.ts';
import { runTwinHoldController } from './twin-hold-controller.ts';

/** Starts the provider's controllers in the leader; they run until `signal` aborts. Resolves once they are started. */
export const startProvider = async (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): Promise<void> => {
  const context = createContext(deps, links, clusterID, signal);
  // Before any controller runs: what exists counts before anything new is accepted.
  feedLedger(context, signal);
  feedHoldings(context, signal);
  links.handleContainerStreams(createContainerStreamHandler(context));
  const controllers = {
    twin: runTwinController,
    twinHold: runTwinHoldController,
    fence: runFenceController,
    shadow: runShadowPodController,
    offer: runOfferController,
    object: runObjectController,
    grantUsage: runGrantUsageController,
    fits: runFitController,
  };
  for (const [name, run] of Object.entries(controllers)) {
    run(context, signal).catch((error: unknown) => {
      if (!signal.aborted) deps.log.error('a controller ended', { controller: name, err: messageOf(error) });
    });
  }
};
