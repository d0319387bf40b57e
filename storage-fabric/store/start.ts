/**
 * The store's side in the leader: its keys, its address for peers (STORE and an Offer), and the tokens that peers ask for.
 *
 * RBAC: pods in the system namespace: get, list, watch; secrets there: get, create, patch; offers: get, list, watch,
 * create, patch, delete; peers: get, list, watch.
 */
import type { Links } from '../../api/link.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { startStoreController } from './store-controller.ts';
import { startTokenController } from './token-controller.ts';

/** Starts both controllers; they end when `signal` aborts. */
export const startStore = (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): void => {
  const store = startStoreController(deps, links, clusterID, signal);
  startTokenController(deps, links, store, signal);
};
