/** Whether pods of a peer can be reached: the one condition that people and other capabilities look at. */
import type { ConditionInput } from '../api/conditions.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { View } from '../api/v1alpha1/view.ts';
import { HANDSHAKE_FRESH_SECONDS } from './names.ts';

export interface NetworkFailure {
  readonly reason: string;
  readonly message: string;
}

export interface NetworkReadyRequest {
  readonly peer: string;
  readonly view: View | undefined;
  readonly gateway: Gateway | undefined;
  /** Why its views couldn't be planned. */
  readonly viewFailure: NetworkFailure | undefined;
  /** Why there may be no tunnel to it; told only while there is none. */
  readonly tunnelFailure: NetworkFailure | undefined;
  readonly nowMs: number;
}

const no = (reason: string, message: string): ConditionInput => ({
  type: 'NetworkReady',
  status: 'False',
  reason,
  message,
});

/** So many probes in a row without an answer are no chance: 8 s. */
const SILENT_PROBES = 4;

/** Whether the peer's gateway has stopped answering through the tunnel; a handshake stays fresh for minutes after that. */
export const isSilent = (status: { readonly probesUnanswered?: number | undefined }): boolean =>
  (status.probesUnanswered ?? 0) >= SILENT_PROBES;

/** planNetworkReady gives the condition; its message doesn't change while nothing changes. */
export const planNetworkReady = (request: NetworkReadyRequest): ConditionInput => {
  const { peer, view, gateway, viewFailure, tunnelFailure, nowMs } = request;
  if (viewFailure !== undefined) return no(viewFailure.reason, viewFailure.message);
  if (view === undefined) return no('WaitingForPeer', 'The peer has not yet said which ranges it has.');
  if (view.spec.ours.length === 0) {
    return no('WaitingForPeer', 'The peer has not yet said how it sees this cluster.');
  }
  if (gateway === undefined) {
    return no('NoGateway', 'No node can hold the tunnel: see kubectl get fabricnodes.');
  }
  const status = gateway.status?.peers?.find((item) => item.peer === peer);
  const handshakeMs = Date.parse(status?.handshakeAt ?? '');
  if (!(nowMs - handshakeMs < HANDSHAKE_FRESH_SECONDS * 1000)) {
    if (tunnelFailure !== undefined) return no(tunnelFailure.reason, tunnelFailure.message);
    const at = gateway.spec.peers.find((item) => item.peer === peer)?.endpoints.join(', ');
    return no(
      'NoHandshake',
      `No WireGuard handshake in the last ${HANDSHAKE_FRESH_SECONDS} s${at === undefined ? '' : `; the peer's gateway is at ${at} (UDP)`}.`,
    );
  }
  if (status?.rttMilliseconds === undefined || isSilent(status)) {
    return no('NoProbeReply', "The tunnel stands, but the peer's gateway answers no probe through it.");
  }
  return {
    type: 'NetworkReady',
    status: 'True',
    reason: 'Connected',
    message: "The peer's gateway answers through the tunnel.",
  };
};
