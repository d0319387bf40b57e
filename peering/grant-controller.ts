import { CLAIMS, GRANTS } from '../api/collections.ts';
import { LABELS } from '../api/labels.ts';
import type { PeerLink } from '../api/link.ts';
import type { ResourceList } from '../api/quantity.ts';
import type { Grant, GrantPolicy } from '../api/v1alpha1/grant.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { ensure } from '../runtime/kube/apply.ts';
import { runController, watchSource } from '../runtime/kube/controller.ts';
import { isDeleting } from '../runtime/kube/finalizers.ts';
import { NODE } from '../runtime/kube/resources.ts';
import type { Node } from '../runtime/kube/types.ts';
import type { LinkSet } from './links.ts';
import { controlledByPeer, heardFromPeers } from './peer-controlled.ts';
import { grantName, judgeClaim, planGrant, rulesFor, type GrantPlan, type NodeRoom } from './plan-grant.ts';
import { FIELD_MANAGER, GRANT, GRANT_POLICY, PEER } from './resources.ts';

/** The provider's side: claims heard over the link → Grant objects → grants told over the link. */

const roomOf = (node: Node): NodeRoom | undefined => {
  const labels = node.metadata.labels ?? {};
  const isReady = node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
  if (LABELS.virtualNode in labels || node.spec.unschedulable === true || !isReady || isDeleting(node)) {
    return undefined;
  }
  const kubeletVersion = node.status?.nodeInfo?.['kubeletVersion'];
  return {
    allocatable: node.status?.allocatable ?? {},
    labels,
    kubeletVersion: typeof kubeletVersion === 'string' ? kubeletVersion : undefined,
  };
};

const manifestOf = (peer: Peer, claim: string, plan: GrantPlan) => ({
  metadata: controlledByPeer(peer, grantName(peer.metadata.name, claim)),
  spec: { peer: peer.metadata.name, claim, resources: plan.resources, terms: plan.terms },
});

/** Runs until `signal` aborts. */
export const runGrantController = (
  deps: ControllerDeps,
  links: LinkSet,
  signal: AbortSignal,
): Promise<void> => {
  const { client, informers, clock, log } = deps;
  const peers = informers.for<Peer>(PEER);
  const grants = informers.for<Grant>(GRANT);
  const policies = informers.for<GrantPolicy>(GRANT_POLICY);
  const nodes = informers.for<Node>(NODE);

  const tell = (link: PeerLink, grant: Grant): void =>
    link.publish(GRANTS).set(grant.spec.claim, {
      granted: true,
      reason: 'Granted',
      message: 'The provider gives this.',
      resources: grant.spec.resources,
      ...(grant.status?.used === undefined ? {} : { used: grant.status.used }),
      terms: grant.spec.terms ?? {},
    });

  const refuse = (link: PeerLink, claim: string, reason: string, message: string): void =>
    link.publish(GRANTS).set(claim, { granted: false, reason, message, resources: {}, terms: {} });

  const giveClaim = async (
    peer: Peer,
    link: PeerLink,
    claim: string,
    asked: ResourceList | undefined,
  ): Promise<void> => {
    const wrong = judgeClaim(peer.metadata.name, claim, asked, grants.list());
    if (wrong !== undefined) {
      refuse(link, claim, 'InvalidClaim', wrong);
      return;
    }
    const room = nodes
      .list()
      .map(roomOf)
      .filter((node) => node !== undefined);
    const existing = grants.get(undefined, grantName(peer.metadata.name, claim));
    // While no node is ready (a reboot), what was given before stays.
    if (room.length === 0 && existing !== undefined) {
      tell(link, existing);
      return;
    }
    const plan = planGrant(asked, room, rulesFor(policies.list(), peer.metadata.name));
    const manifest = manifestOf(peer, claim, plan);
    const stored = await ensure<Grant>(client, GRANT, manifest, {
      fieldManager: FIELD_MANAGER,
      existing,
      signal,
    });
    tell(link, stored);
  };

  const reconcile = async (name: string): Promise<void> => {
    const link = links.get(name);
    const peer = peers.get(undefined, name);
    if (link === undefined || peer === undefined || isDeleting(peer)) return;
    const publisher = link.publish(GRANTS);
    const mine = grants.list().filter((grant) => grant.spec.peer === name);
    const isConsumer = peer.spec.roles.includes('Consumer');
    const claims = link.follow(CLAIMS);
    if (!isConsumer) {
      for (const id of publisher.ids()) publisher.delete(id);
      for (const grant of mine)
        await client.delete(GRANT, grant.metadata.name, undefined, { uid: grant.metadata.uid, signal });
      publisher.markComplete();
      return;
    }
    for (const [claim, item] of claims.entries()) await giveClaim(peer, link, claim, item.resources);
    if (!claims.isComplete()) {
      // Not everything was heard since this process started: what was given stays, and is told.
      for (const grant of mine) if (claims.get(grant.spec.claim) === undefined) tell(link, grant);
      return;
    }
    for (const grant of mine.filter(({ spec }) => claims.get(spec.claim) === undefined)) {
      await client.delete(GRANT, grant.metadata.name, undefined, { uid: grant.metadata.uid, signal });
    }
    for (const id of publisher.ids()) if (claims.get(id) === undefined) publisher.delete(id);
    publisher.markComplete();
  };

  const everyConsumer = (): string[] => links.list().map((link) => link.peer);
  return runController(
    {
      name: 'peering.grant',
      sources: [
        heardFromPeers(links, CLAIMS),
        watchSource(peers),
        watchSource(grants, ({ object }) => [object.spec.peer]),
        watchSource(policies, everyConsumer),
        // Nodes report themselves every few minutes; only what changes the sum changes a Grant.
        watchSource(nodes, everyConsumer),
      ],
      reconcile,
      workers: 1,
      log,
      clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
