/** What the agent says in the status of its node's objects. Pure. */
import type { Condition } from '../../api/conditions.ts';
import { setCondition, type ConditionInput } from '../../api/set-condition.ts';
import { messageOf } from '../../api/errors.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../../api/v1alpha1/gateway.ts';
import type { LinkState } from '../../runtime/host/ip.ts';
import { HostToolError } from '../../runtime/host/exec.ts';
import type { WgDeviceState } from '../../runtime/host/wg.ts';
import { TUNNEL_DEVICE } from '../names.ts';
import { isSilent } from '../plan-network-ready.ts';
import type { ProbeResult } from './probe.ts';

export type FabricNodeStatus = NonNullable<FabricNode['status']>;
export type GatewayStatus = NonNullable<Gateway['status']>;

/** What tools say when the kernel lacks what they need, or forbids it. */
const UNUSABLE = /not supported|not permitted|permission denied|no such device|could not be started/i;

/** ReadyInput is the node's Ready condition: true, or the one reason why not. */
export const readyCondition = (failure: unknown, isForwarding: boolean): ConditionInput => {
  if (failure instanceof HostToolError && failure.isMissing) {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'HostToolMissing',
      message: `${failure.tool} is not installed on this node: ${failure.hint ?? ''}`,
    };
  }
  if (failure instanceof HostToolError && UNUSABLE.test(failure.message)) {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'HostToolUnusable',
      message: `${failure.message}: the node's kernel or its security policy does not let the agent use ${failure.tool}`,
    };
  }
  if (failure !== undefined) {
    const message = messageOf(failure);
    return { type: 'Ready', status: 'False', reason: 'ApplyFailed', message };
  }
  if (!isForwarding) {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'ForwardingDisabled',
      message: 'net.ipv4.ip_forward is 0 on this node: pods of other nodes and clusters cannot be reached',
    };
  }
  return { type: 'Ready', status: 'True', reason: 'Applied', message: 'The node is as its objects say.' };
};

export interface FabricNodeReport {
  readonly ready: ConditionInput;
  readonly vxlanMAC: string | undefined;
  readonly acknowledged: ReadonlyMap<string, number>;
  /** Networks that the node's own routes lead to; undefined before they were looked at. */
  readonly networks?: readonly string[] | undefined;
  /** Newest ask of the fence, if there ever was one. */
  readonly fenceAsk?: number | undefined;
  readonly previous: readonly Condition[] | undefined;
  readonly now: string;
}

/** fabricNodeStatus is the status to apply. */
export const fabricNodeStatus = (report: FabricNodeReport): FabricNodeStatus => ({
  ...(report.vxlanMAC === undefined ? {} : { vxlanMAC: report.vxlanMAC }),
  ...(report.networks === undefined ? {} : { networks: [...report.networks] }),
  heartbeatAt: report.now,
  ...(report.fenceAsk === undefined ? {} : { fenceAsk: report.fenceAsk }),
  // Left out when empty: server-side apply of {} over owned entries ends as null, which the schema refuses.
  ...(report.acknowledged.size === 0
    ? {}
    : {
        acknowledgedOffers: Object.fromEntries([...report.acknowledged].sort(([a], [b]) => (a < b ? -1 : 1))),
      }),
  conditions: setCondition(report.previous, report.ready, report.now),
});

export interface GatewayReport {
  readonly gateway: Gateway;
  readonly ready: ConditionInput;
  readonly device: WgDeviceState | undefined;
  readonly links: readonly LinkState[];
  readonly probe: (peer: string) => ProbeResult | undefined;
  readonly now: string;
}

type PeerStatus = NonNullable<GatewayStatus['peers']>[number];

const peerStatus = (report: GatewayReport, peer: string, publicKey: string): PeerStatus => {
  const state = report.device?.peers.find((item) => item.publicKey === publicKey);
  const probe = report.probe(peer);
  return {
    peer,
    ...(state?.endpoint === undefined ? {} : { endpoint: state.endpoint }),
    ...(state === undefined || state.latestHandshake === 0
      ? {}
      : { handshakeAt: new Date(state.latestHandshake * 1000).toISOString() }),
    ...(state === undefined ? {} : { rxBytes: state.rxBytes, txBytes: state.txBytes }),
    ...(probe?.rttMilliseconds === undefined ? {} : { rttMilliseconds: probe.rttMilliseconds }),
    ...(probe === undefined ? {} : { lossPercent: probe.lossPercent, probesUnanswered: probe.unanswered }),
  };
};

/** gatewayStatus is the status to apply. */
export const gatewayStatus = (report: GatewayReport): GatewayStatus => {
  const { gateway, device, now } = report;
  const kind = report.links.find((link) => link.name === TUNNEL_DEVICE)?.kind;
  return {
    ...(device?.publicKey === undefined ? {} : { publicKey: device.publicKey }),
    ...(kind === undefined ? {} : { implementation: kind === 'wireguard' ? 'kernel' : 'wireguard-go' }),
    heartbeatAt: now,
    ...(gateway.metadata.generation === undefined ? {} : { observedGeneration: gateway.metadata.generation }),
    peers: gateway.spec.peers.map(({ peer, publicKey }) => peerStatus(report, peer, publicKey)),
    conditions: setCondition(gateway.status?.conditions, report.ready, now),
  };
};

/** What others wait for in a status, as one text: it is written at once when this changes, else with the heartbeat. */
export const urgentText = (status: GatewayStatus): string =>
  JSON.stringify([
    status.publicKey,
    status.observedGeneration,
    status.conditions?.map((item) => [item.type, item.status, item.reason]),
    status.peers?.map((peer) => [
      peer.peer,
      peer.handshakeAt !== undefined,
      peer.rttMilliseconds !== undefined,
      isSilent(peer),
    ]),
  ]);
