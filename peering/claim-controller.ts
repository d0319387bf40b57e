import { CLAIMS, GRANTS } from '../api/collections.ts';
import { setCondition, type ConditionInput } from '../api/conditions.ts';
import type { ItemOf } from '../api/link.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { equalJson, upsertStatus } from '../runtime/kube/apply.ts';
import { runController, watchSource } from '../runtime/kube/controller.ts';
import { isAlreadyExists } from '../runtime/kube/errors.ts';
import { isDeleting } from '../runtime/kube/finalizers.ts';
import type { LinkSet } from './links.ts';
import { controlledByPeer, heardFromPeers } from './peer-controlled.ts';
import { CLAIM, FIELD_MANAGER, PEER, VIRTUAL_NODE } from './resources.ts';

/** The consumer's side: Claim objects → claims told over the link → grants heard → Claim status and virtual nodes. */

/** Name of the virtual node of a claim; the claim that is made by default is named like its peer. */
export const virtualNodeName = (peer: string, claim: string): string =>
  (claim === peer ? `fluvia-${peer}` : `fluvia-${peer}-${claim}`).slice(0, 63);

type GrantItem = ItemOf<typeof GRANTS>;

/** Status of a Claim for what the provider said of it; unchanged when it says the same again. */
export const planClaimStatus = (
  claim: Claim,
  grant: GrantItem | undefined,
  now: string,
): NonNullable<Claim['status']> => {
  const condition: ConditionInput =
    grant === undefined
      ? {
          type: 'Granted',
          status: 'False',
          reason: 'Waiting',
          message: `${claim.spec.peer} has not answered yet.`,
        }
      : {
          type: 'Granted',
          status: grant.granted ? 'True' : 'False',
          reason: grant.reason || (grant.granted ? 'Granted' : 'Refused'),
          message: grant.message,
        };
  const conditions = setCondition(claim.status?.conditions, condition, now);
  if (grant === undefined) return { ...claim.status, conditions };
  const said = {
    granted: grant.resources,
    ...(grant.used === undefined ? {} : { used: grant.used }),
    terms: grant.terms,
  };
  const { granted, used, terms } = claim.status ?? {};
  const before = { granted, ...(used === undefined ? {} : { used }), terms };
  const observedAt = equalJson(before, said) ? (claim.status?.observedAt ?? now) : now;
  return { ...said, observedAt, conditions };
};

/** Runs until `signal` aborts. */
export const runClaimController = (
  deps: ControllerDeps,
  links: LinkSet,
  signal: AbortSignal,
): Promise<void> => {
  const { client, informers, clock, log } = deps;
  const peers = informers.for<Peer>(PEER);
  const claims = informers.for<Claim>(CLAIM);
  const nodes = informers.for<VirtualNode>(VIRTUAL_NODE);

  const createOnce = async (create: () => Promise<unknown>): Promise<void> => {
    try {
      await create();
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  };

  const ensureVirtualNode = async (peer: Peer, claim: Claim): Promise<void> => {
    const known = nodes
      .list()
      .some((n) => n.spec.peer === peer.metadata.name && n.spec.claim === claim.metadata.name);
    if (known) return;
    const metadata = controlledByPeer(peer, virtualNodeName(peer.metadata.name, claim.metadata.name));
    const spec = { peer: peer.metadata.name, claim: claim.metadata.name, cordoned: false };
    await createOnce(() => client.create(VIRTUAL_NODE, { metadata, spec }, { signal }));
  };

  const reconcile = async (name: string): Promise<void> => {
    const link = links.get(name);
    const peer = peers.get(undefined, name);
    if (link === undefined || peer === undefined || isDeleting(peer)) return;
    const publisher = link.publish(CLAIMS);
    const isProvider = peer.spec.roles.includes('Provider');
    const mine = isProvider ? claims.list().filter((c) => c.spec.peer === name && !isDeleting(c)) : [];
    if (isProvider && mine.length === 0) {
      const claim = { metadata: controlledByPeer(peer, name), spec: { peer: name } };
      await createOnce(() => client.create(CLAIM, claim, { signal }));
      return;
    }
    const wanted = new Set(mine.map((claim) => claim.metadata.name));
    for (const claim of mine) {
      const { resources } = claim.spec;
      publisher.set(claim.metadata.name, resources === undefined ? {} : { resources });
    }
    for (const id of publisher.ids()) if (!wanted.has(id)) publisher.delete(id);
    publisher.markComplete();
    for (const node of nodes.list()) {
      if (node.spec.peer !== name || wanted.has(node.spec.claim)) continue;
      await client.delete(VIRTUAL_NODE, node.metadata.name, undefined, { uid: node.metadata.uid, signal });
    }
    const heard = link.follow(GRANTS);
    for (const claim of mine) {
      const grant = heard.get(claim.metadata.name);
      // Until the provider has spoken once in this process's life, what it said before stays.
      if (grant === undefined && !heard.isComplete() && claim.status?.conditions !== undefined) continue;
      const status = planClaimStatus(claim, grant, clock.now().toISOString());
      await upsertStatus(client, CLAIM, claim, status, { fieldManager: FIELD_MANAGER, signal });
      if (grant?.granted === true) await ensureVirtualNode(peer, claim);
    }
  };

  return runController(
    {
      name: 'peering.claim',
      sources: [
        heardFromPeers(links, GRANTS),
        watchSource(peers),
        watchSource(claims, ({ object }) => [object.spec.peer]),
        watchSource(nodes, ({ object }) => [object.spec.peer]),
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
