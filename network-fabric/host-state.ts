/** What a node has of ours, as one value: what the agent observes, and what the planner's model works on. */
import type {
  AddressState,
  ForwardingState,
  LinkState,
  NeighbourState,
  RouteState,
  RuleState,
} from '../runtime/host/ip.ts';
import type { NftTableState } from '../runtime/host/nft.ts';
import type { WgDeviceState } from '../runtime/host/wg.ts';

export interface HostState {
  readonly links: readonly LinkState[];
  /** All addresses of the node. */
  readonly addresses: readonly AddressState[];
  /** Routes of our protocol number only. */
  readonly routes: readonly RouteState[];
  readonly rules: readonly RuleState[];
  /** Permanent neighbours of the VXLAN device. */
  readonly neighbours: readonly NeighbourState[];
  /** Where the VXLAN device sends frames. */
  readonly forwarding: readonly ForwardingState[];
  readonly nft: NftTableState | undefined;
  readonly wireguard: WgDeviceState | undefined;
  /** Whether wireguard-go is asked for (or kernel WireGuard's device is there). */
  readonly isTunnelWanted: boolean;
  /** Values of the settings that the planner asks about. */
  readonly sysctls: Readonly<Record<string, string>>;
}
