import type { ClusterId, Pin } from '../api/cluster-id.ts';
import { messageOf } from '../api/errors.ts';
import { ANNOTATIONS } from '../api/labels.ts';
import type { Links } from '../api/link.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { runClaimController } from './claim-controller.ts';
import { runEndpointController } from './endpoint-controller.ts';
import { runGrantController } from './grant-controller.ts';
import { loadIdentity, type PublicIdentity } from './identity.ts';
import { runInviteController } from './invite-controller.ts';
import { runJoinController } from './join-controller.ts';
import { createJoinHandler } from './join-server.ts';
import { createLinkSet } from './links.ts';
import { startListener } from './listener.ts';
import { createPeerQueue, runPeerController } from './peer-controller.ts';
import { registerPeeringMetrics } from './link-metrics.ts';
import { LIMITS } from './protocol.ts';
import { FIELD_MANAGER, PEER } from './resources.ts';
import type { Term } from './term.ts';
import { createTokens } from './tokens.ts';

/** The peering capability as the leader runs it. */
export interface Peering {
  readonly links: Links;
  readonly clusterID: ClusterId;
  readonly identity: PublicIdentity;
  /** Port on which it listens. */
  readonly port: number;
  /** Resolves when all has stopped after `signal`. */
  readonly stopped: Promise<void>;
}

export interface PeeringOptions {
  /** 0 chooses a free one. */
  readonly listenPort: number;
  /** Default: all addresses. */
  readonly listenHost?: string;
  /** How long unpeering goes on trying to tell the other side, milliseconds. Default 30 s. */
  readonly tellEndForMs?: number;
}

/** Longer than a controller's failover at the other side takes. */
const TELL_END_FOR_MS = 30_000;

/**
 * Starts listening, dialling and the controllers of peering; they run until `signal` aborts. Resolves when identity, listener
 * and the known peers' links are there; whether a peer answers is told by its link.
 */
export const startPeering = async (
  deps: ControllerDeps,
  options: PeeringOptions,
  signal: AbortSignal,
): Promise<Peering> => {
  const { client, clock, log, informers } = deps;
  const identity = await loadIdentity(client, {
    namespace: deps.systemNamespace,
    clusterName: deps.clusterName,
    signal,
  });
  const queue = createPeerQueue(deps);
  /** UIDs of Peers that are being deleted since the other side has ended their peering. */
  const ending = new Set<string>();

  const onLeft = async (peer: Peer, how: 'Leave' | 'NotPeered'): Promise<void> => {
    const { name, uid } = peer.metadata;
    if (uid === undefined || ending.has(uid)) return;
    ending.add(uid);
    log.info('the other side has ended the peering', { peer: name, how });
    events.record(peer, { type: 'Normal', reason: 'PeeringEnded', note: `${name} has ended the peering.` });
    try {
      // Before anything goes: the next leader has to know it, too.
      const body = { metadata: { uid, annotations: { [ANNOTATIONS.endedByPeer]: 'true' } } };
      await client.patch(PEER, name, undefined, body, { type: 'merge', fieldManager: FIELD_MANAGER });
      await client.delete(PEER, name, undefined, { uid });
    } catch (err) {
      // The next Leave or NotPeered tries again.
      ending.delete(uid);
      log.warn('a Peer could not be deleted', { peer: name, err });
      throw err;
    }
  };
  const { events } = deps;

  const term: Term = {
    transitions: deps.leaderTransitions,
    isLeading: () => deps.isLeading?.() ?? true,
  };
  const links = createLinkSet({
    identity,
    term,
    clock,
    log,
    onLeft,
    onChange: (peer) => queue.add(peer),
  });

  const peers = informers.for<Peer>(PEER);
  await peers.whenSynced(signal);
  for (const peer of peers.list()) if (peer.metadata.deletionTimestamp === undefined) links.ensure(peer);

  // From the API server, not from a cache: "not peered" makes the other side remove its end.
  const mayAsk = createTokens(LIMITS.strangerAsksPerSecond, clock);
  const isPeered = async (pin: Pin): Promise<boolean> => {
    mayAsk();
    const { items } = await client.list<Peer>(PEER, { signal });
    return items.some((p) => p.spec.pins.includes(pin) && p.metadata.deletionTimestamp === undefined);
  };

  const listener = await startListener({
    identity,
    port: options.listenPort,
    ...(options.listenHost === undefined ? {} : { host: options.listenHost }),
    log,
    linkOf: (pin) => links.byPin(pin),
    join: createJoinHandler({
      client,
      identity,
      clock,
      log,
      mayAsk,
      onPeer: (peer) => void links.ensure(peer),
    }),
    isPeered,
  });

  const controllers = [
    runPeerController(
      { deps, links, identity, term, queue, tellEndForMs: options.tellEndForMs ?? TELL_END_FOR_MS },
      signal,
    ),
    runInviteController(deps, signal),
    runJoinController(deps, identity, signal),
    runClaimController(deps, links, signal),
    runGrantController(deps, links, signal),
    runEndpointController(deps, listener.port, signal),
  ].map((running) =>
    running.catch((error: unknown) => {
      log.error('a controller of peering ended', { reason: messageOf(error), err: error });
      throw error;
    }),
  );

  const unregister = registerPeeringMetrics(deps.metrics, links);
  const stop = async (): Promise<void> => {
    unregister();
    links.close();
    await listener.close();
    await Promise.allSettled(controllers);
  };
  const stopped = new Promise<void>((resolve) => {
    const run = (): void => void stop().then(resolve);
    if (signal.aborted) run();
    else signal.addEventListener('abort', run, { once: true });
  });
  // A failed controller is reported above; it must not end the process as an unhandled rejection.
  void Promise.allSettled(controllers);
  const publicPart: PublicIdentity = {
    clusterID: identity.clusterID,
    pin: identity.pin,
    name: identity.name,
  };
  return { links, clusterID: identity.clusterID, identity: publicPart, port: listener.port, stopped };
};
