/**
 * The store's side in the leader: its keys, its address for peers (STORE and an Offer), the tokens that peers ask for, and
 * what it holds of their volumes.
 *
 * RBAC: pods in the system namespace: get, list, watch; secrets there: get, create, patch; offers: get, list, watch,
 * create, patch, delete; peers: get, list, watch.
 */
import type { Links } from '../../api/link.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { startRecordController } from './record-controller.ts';
import { startStoreController } from './store-controller.ts';
import { startTenantController } from './tenant-controller.ts';
import { startTokenController } from './token-controller.ts';

/** Starts the four controllers; they end when `signal` aborts. */
export const startStore = (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): void => {
  const store = startStoreController(deps, links, clusterID, signal);
  const tenants = startTenantController(deps, store, signal);
  startTokenController(deps, links, store, tenants, signal);
  startRecordController(deps, links, store, tenants, signal);
};
