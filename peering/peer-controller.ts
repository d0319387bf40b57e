import { ANNOTATIONS, FINALIZERS, GROUP, LABELS, MANAGED_BY, PEERS_NAMESPACE } from '../api/labels.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { Grant } from '../api/v1alpha1/grant.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { equalJson } from '../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../runtime/kube/controller.ts';
import { isAlreadyExists } from '../runtime/kube/errors.ts';
import { addFinalizer, isDeleting, removeFinalizer } from '../runtime/kube/finalizers.ts';
import { SERVICE_ACCOUNT, type ResourceRef } from '../runtime/kube/resources.ts';
import type { HasMetadata, ServiceAccount } from '../runtime/kube/types.ts';
import { createWorkQueue, type WorkQueue } from '../runtime/kube/work-queue.ts';
import type { Identity } from './identity.ts';
import { fingerprintOf } from './keys.ts';
import { leaveByDialling } from './leave.ts';
import type { LinkSet } from './links.ts';
import { isClone, ownPeerStatus, planPeerStatus, type ObservedLink } from './plan-peer-status.ts';
import { CLAIM, FIELD_MANAGER, GRANT, PEER, VIRTUAL_NODE } from './resources.ts';
import type { Term } from './term.ts';

/** Peer objects → links, the peering's ServiceAccount, status; and everything away when a Peer goes. */

export interface PeerControllerOptions {
  readonly deps: ControllerDeps;
  readonly links: LinkSet;
  readonly identity: Identity;
  readonly term: Term;
  readonly queue: WorkQueue;
  /** How long the other side's answer to the end of the peering is waited for, from the deletion, in milliseconds. */
  readonly tellEndForMs: number;
}

const TELL_AGAIN_AFTER_MS = 1500;

/** The queue of the Peer controller: link changes are added from outside. */
export const createPeerQueue = (deps: ControllerDeps): WorkQueue => createWorkQueue({ clock: deps.clock });

const observe = (links: LinkSet, name: string): ObservedLink | undefined => {
  const seen = links.end(name)?.snapshot();
  if (seen === undefined) return undefined;
  return {
    ...seen,
    since: seen.since.toISOString(),
    lastHeardAt: seen.lastHeardAt?.toISOString(),
  };
};

/** Runs until `signal` aborts. */
export const runPeerController = (options: PeerControllerOptions, signal: AbortSignal): Promise<void> => {
  const { deps, links, identity, term, queue } = options;
  const { client, informers, events, clock } = deps;
  const peers = informers.for<Peer>(PEER);
  const dependents: readonly (readonly [ResourceRef, { list(): readonly HasMetadata[] }])[] = [
    [VIRTUAL_NODE, informers.for<VirtualNode>(VIRTUAL_NODE)],
    [CLAIM, informers.for<Claim>(CLAIM)],
    [GRANT, informers.for<Grant>(GRANT)],
  ];
  const accounts = informers.for<ServiceAccount>(SERVICE_ACCOUNT, { namespace: PEERS_NAMESPACE });

  const ensureAccount = async (peer: Peer): Promise<void> => {
    const name = peer.spec.clusterID;
    const there = accounts.get(PEERS_NAMESPACE, name);
    if (!peer.spec.roles.includes('Consumer')) {
      if (there !== undefined) await client.delete(SERVICE_ACCOUNT, name, PEERS_NAMESPACE, { signal });
      return;
    }
    if (there !== undefined) return;
    const labels = { [LABELS.managedBy]: MANAGED_BY, [LABELS.peer]: peer.metadata.name };
    const account = {
      metadata: { name, namespace: PEERS_NAMESPACE, labels },
      automountServiceAccountToken: false,
    };
    try {
      await client.create(SERVICE_ACCOUNT, account, { signal });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  };

  const tellEnd = async (peer: Peer): Promise<boolean> => {
    if (peer.metadata.annotations?.[ANNOTATIONS.endedByPeer] === 'true') return true;
    const heard = (await links.end(peer.metadata.name)?.leave()) ?? false;
    return heard || (await leaveByDialling(peer, identity, term, deps.log, signal));
  };

  const cleanUp = async (peer: Peer): Promise<ReconcileResult> => {
    const finalizers = peer.metadata.finalizers ?? [];
    if (!finalizers.includes(FINALIZERS.cleanup)) return {};
    if (finalizers.some((name) => name.startsWith(`${GROUP}/`) && name !== FINALIZERS.cleanup)) {
      // Offloading drains what runs over there first, and needs the link for it; it gives up by itself when the other side
      // is dead. Its going wakes this controller.
      links.ensure(peer);
      return {};
    }
    // The other side is told if it can be (its leader may just be changing); what is here goes in any case.
    if (!(await tellEnd(peer))) {
      const waitedMs = clock.now().getTime() - Date.parse(peer.metadata.deletionTimestamp ?? '');
      if (waitedMs < options.tellEndForMs) {
        links.ensure(peer);
        return { requeueAfterMs: TELL_AGAIN_AFTER_MS };
      }
      events.record(peer, {
        type: 'Warning',
        reason: 'PeerNotTold',
        note: `${peer.metadata.name} could not be told that the peering has ended: unpeer there, too.`,
      });
    }
    const name = peer.metadata.name;
    links.remove(name);
    for (const [resource, informer] of dependents) {
      for (const object of informer.list()) {
        if ((object as unknown as { readonly spec: { readonly peer: string } }).spec.peer !== name) continue;
        await client.delete(resource, object.metadata.name, undefined, { uid: object.metadata.uid, signal });
      }
    }
    const shared = peers
      .list()
      .some((p) => p.metadata.name !== name && p.spec.clusterID === peer.spec.clusterID);
    if (!shared) await client.delete(SERVICE_ACCOUNT, peer.spec.clusterID, PEERS_NAMESPACE, { signal });
    await removeFinalizer(client, PEER, peer, FINALIZERS.cleanup, { signal });
    deps.log.info('a peering has ended', { peer: name });
    return {};
  };

  const writeStatus = async (peer: Peer): Promise<void> => {
    const link = observe(links, peer.metadata.name);
    if (link === undefined) return;
    if (isClone(peer, link)) {
      events.record(peer, {
        type: 'Warning',
        reason: 'ClusterReplaced',
        note: `${peer.metadata.name} has the same identity but another kube-system: it was restored, or its identity was copied.`,
      });
    }
    const fingerprint = fingerprintOf(identity.pin, peer.spec.pins[0] ?? '');
    const status = planPeerStatus(peer, link, fingerprint, clock.now().toISOString());
    if (equalJson(ownPeerStatus(peer.status), status)) return;
    const before = peer.status?.link?.state;
    const manifest = { metadata: { name: peer.metadata.name, uid: peer.metadata.uid }, status };
    await client.apply(PEER, manifest, {
      fieldManager: FIELD_MANAGER,
      subresource: 'status',
      force: true,
      signal,
    });
    const state = status.link?.state;
    if (state !== before && (before !== undefined || state === 'Up')) {
      const note = status.conditions?.find((c) => c.type === 'LinkReady')?.message ?? '';
      events.record(peer, {
        type: state === 'Down' ? 'Warning' : 'Normal',
        reason: `Link${state ?? ''}`,
        note,
      });
    }
  };

  const reconcile = async (name: string): Promise<ReconcileResult> => {
    const peer = peers.get(undefined, name);
    if (peer === undefined) {
      // The join handler makes a link a moment before the watch tells of its Peer.
      const there =
        links.get(name) === undefined ? undefined : await client.get<Peer>(PEER, name, undefined, { signal });
      if (there === undefined) links.remove(name);
      return {};
    }
    if (isDeleting(peer)) {
      return cleanUp(peer);
    }
    const held = await addFinalizer(client, PEER, peer, FINALIZERS.cleanup, { signal });
    if (held === undefined) return {};
    await ensureAccount(peer);
    links.ensure(peer);
    await writeStatus(peer);
    return {};
  };

  return runController(
    {
      name: 'peering.peer',
      sources: [
        watchSource(peers),
        watchSource(accounts, ({ object }) => {
          const peer = object.metadata.labels?.[LABELS.peer];
          return peer === undefined ? [] : [peer];
        }),
      ],
      reads: dependents.map(([resource]) => informers.for(resource)),
      reconcile,
      queue,
      log: deps.log,
      clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
