import { CLAIMS, GRANTS } from '../api/collections.ts';
import { LABELS } from '../api/labels.ts';
import type { PeerLink } from '../api/link.ts';
import type { Grant, GrantPolicy } from '../api/v1alpha1/grant.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { ensure, equalJson } from '../runtime/kube/apply.ts';
import { runController, watchSource } from '../runtime/kube/controller.ts';
import { isDeleting } from '../runtime/kube/finalizers.ts';
import { NODE } from '../runtime/kube/resources.ts';
import type { Node } from '../runtime/kube/types.ts';
import type { LinkSet } from './links.ts';
import { controlledByPeer, heardFromPeers } from './peer-controlled.ts';
import { grantName, rulesFor, type NodeRoom } from './plan-grant.ts';
import { planGrants } from './plan-grants.ts';
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

const manifestOf = (peer: Peer, claim: string, spec: Omit<Grant['spec'], 'peer' | 'claim'>) => ({
  metadata: controlledByPeer(peer, grantName(peer.metadata.name, claim)),
  spec: { peer: peer.metadata.name, claim, ...spec },
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

  const tell = (link: PeerLink, grant: Grant, message = 'The provider gives this.'): void =>
    link.publish(GRANTS).set(grant.spec.claim, {
      granted: true,
      reason: 'Granted',
      message,
      resources: grant.spec.resources,
      ...(grant.status?.used === undefined ? {} : { used: grant.status.used }),
      terms: grant.spec.terms ?? {},
    });

  const write = async (manifest: ReturnType<typeof manifestOf>): Promise<Grant> => {
    const existing = grants.get(undefined, manifest.metadata.name);
    // A resource that is given no more must go, too, which `ensure` alone doesn't see.
    const isSame = existing !== undefined && equalJson(existing.spec, manifest.spec);
    return ensure<Grant>(client, GRANT, manifest, {
      fieldManager: FIELD_MANAGER,
      existing: isSame ? existing : undefined,
      signal,
    });
  };

  const remove = (grant: Grant): Promise<unknown> =>
    client.delete(GRANT, grant.metadata.name, undefined, { uid: grant.metadata.uid, signal });

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
      for (const grant of mine) await remove(grant);
      publisher.markComplete();
      return;
    }
    const plan = planGrants({
      peer: name,
      claims: new Map([...claims.entries()].map(([claim, { resources }]) => [claim, resources])),
      isComplete: claims.isComplete(),
      grants: grants.list(),
      nodes: nodes
        .list()
        .map(roomOf)
        .filter((node) => node !== undefined),
      rules: rulesFor(policies.list(), name),
    });
    const { peerMaximum } = plan;
    for (const [claim, { resources, terms, message }] of plan.give) {
      tell(link, await write(manifestOf(peer, claim, { resources, peerMaximum, terms })), message);
    }
    for (const [claim, { reason, message }] of plan.refuse) {
      publisher.set(claim, { granted: false, reason, message, resources: {}, terms: {} });
    }
    for (const [{ spec }, resources] of plan.hold) {
      await write(manifestOf(peer, spec.claim, { resources, peerMaximum, withdrawn: true }));
    }
    for (const grant of plan.remove) await remove(grant);
    if (!claims.isComplete()) {
      // Not everything was heard since this process started: what was given stays, and is told.
      for (const grant of mine) {
        if (claims.get(grant.spec.claim) === undefined && grant.spec.withdrawn !== true) tell(link, grant);
      }
      return;
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
