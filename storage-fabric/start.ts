/**
 * The storage fabric's controllers in the leader: home's volumes with their copies and moves, and, for peers' consumers, their
 * volumes and movers.
 *
 * RBAC that this folder needs is in `deploy/manifests/rbac.ts`, each block with its reason.
 */
import type { Links } from '../api/link.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { POD } from '../runtime/kube/resources.ts';
import type { Pod } from '../runtime/kube/types.ts';
import { createHomeLink, withHome } from './home-link.ts';
import { startTransfers } from './mover/transfer-controller.ts';
import { openProviderSide } from './provider-side.ts';
import { startStore } from './store/start.ts';
import { startReplicas } from './replica/replica-controller.ts';
import { startHomeVolumes } from './volumes/home-controller.ts';
import { openHomeVolumes } from './volumes/home-volumes.ts';
import { startPeerVolumes } from './volumes/peer-controller.ts';
import { openVolumeUsers } from './volumes/volume-users.ts';

/** Starts everything once the caches have filled; it stops when `signal` aborts. */
export const startStorage = async (
  deps: ControllerDeps,
  peerings: Links,
  clusterID: string,
  signal: AbortSignal,
): Promise<void> => {
  const links = withHome(peerings, createHomeLink(clusterID, signal));
  const home = openHomeVolumes(deps);
  await home.whenSynced(signal);
  const pods = deps.informers.for<Pod>(POD);
  const users = openVolumeUsers(pods, home);
  startHomeVolumes({ deps, links, home, pods, users }, signal);
  startReplicas({ deps, links, home, pods, users }, signal);
  const provider = openProviderSide(deps, clusterID);
  startPeerVolumes(deps, links, provider, signal);
  startTransfers(deps, links, provider, clusterID, signal);
  startStore(deps, links, clusterID, signal);
  deps.log.info('storage fabric runs', { controller: 'storage', clusterID });
};
