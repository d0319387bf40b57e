/** Where the kinds of the network are in the API; written out, so that an agent needn't load their schemas. */
import { fluviaResource } from '../runtime/kube/resources.ts';

export const NETWORK_CONFIG = fluviaResource('NetworkConfig', 'networkconfigs', false);
export const VIEW = fluviaResource('View', 'views', false);
export const GATEWAY = fluviaResource('Gateway', 'gateways', false);
export const FABRIC_NODE = fluviaResource('FabricNode', 'fabricnodes', false);
export const OFFER = fluviaResource('Offer', 'offers', false);
export const PEER = fluviaResource('Peer', 'peers', false);
