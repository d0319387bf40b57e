/**
 * The consumer's side of offloading; the leader runs it.
 *
 * RBAC that this folder needs is in `deploy/manifests/rbac.ts`, each block with its reason.
 *
 * Ports: each virtual node listens at PORTS.kubeletBase + n on the controller's pod; the API server must reach it.
 * DaemonSets of the installation must stay off virtual nodes: node affinity `fluvia.dev/virtual-node DoesNotExist`.
 */
import { SHADOW_STATUS } from '../../api/collections.ts';
import type { Links, PeerLink } from '../../api/link.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import { createKubeletServers } from '../virtual-kubelet/kubelet-servers.ts';
import { startLeases } from '../virtual-kubelet/leases.ts';
import { startNodes } from '../virtual-kubelet/node-controller.ts';
import { startPeerHold } from '../virtual-kubelet/peer-hold-controller.ts';
import { startCaBundle } from '../webhook/ca-bundle-controller.ts';
import { createExclusions } from './exclusions.ts';
import { openHome } from './home.ts';
import { startHomeFence } from './home-fence.ts';
import { startLanding } from './landing-controller.ts';
import { watchLinkHealth } from './link-health.ts';
import { followLossPolicy, startLoss } from './loss-controller.ts';
import { startNamespaces } from './namespace-controller.ts';
import { startEndpointOffers } from './offer-controller.ts';
import { startPlacement } from './placement-controller.ts';
import { startReflection } from './reflection-controller.ts';
import { startShadows } from './shadow-controller.ts';

/**
 * Starts everything of the consumer's side once the caches have filled; it stops when `signal` aborts. `clusterID` is
 * this cluster's own. Does nothing harmful where there are no providers.
 */
export const startConsumer = async (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): Promise<void> => {
  const home = openHome(deps.informers);
  const loss = followLossPolicy(deps.informers);
  await Promise.all([home.whenSynced(signal), loss.whenSynced(signal)]);
  const health = watchLinkHealth(links, deps.clock, signal, {
    lossMs: () => loss.current().hysteresisSeconds * 1000,
  });
  const exclusions = createExclusions(deps.clock);
  const webhook = startCaBundle(deps, signal);
  const servers = await createKubeletServers(deps, home, links, signal);
  startPeerHold(deps, home, signal);
  startNodes({ deps, home, health, servers }, signal);
  startLeases(deps, home, signal);
  startNamespaces({ deps, home, links, health, webhook }, signal);
  const reflection = startReflection({ deps, home, links, clusterID }, signal);
  startEndpointOffers(deps, home, reflection, signal);
  const isToldOver = (link: PeerLink, pod: Pod): boolean => {
    const told = link.follow(SHADOW_STATUS).get(keyOf(pod));
    return told?.uid === pod.metadata.uid && told?.state !== 'accepted' && told !== undefined;
  };
  const policy = loss.current;
  const fence = startHomeFence({ deps, home, links, policy, isToldOver }, signal);
  startShadows({ deps, home, links, health, reflection, exclusions, policy, fence }, signal);
  startLoss({ deps, home, health, loss }, signal);
  startPlacement({ deps, home, links, exclusions }, signal);
  startLanding(deps, home, signal);
  deps.log.info('consumer side runs', { controller: 'offloading' });
};
