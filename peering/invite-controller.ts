import type { Invite } from '../api/v1alpha1/invite.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { runController, watchSource } from '../runtime/kube/controller.ts';
import { planInvite } from './plan-invite.ts';
import { INVITE, PEER } from './resources.ts';

/** Deletes used-up and expired Invites. Runs until `signal` aborts. */
export const runInviteController = (deps: ControllerDeps, signal: AbortSignal): Promise<void> => {
  const { client, informers, clock, log } = deps;
  const invites = informers.for<Invite>(INVITE);
  const peers = informers.for<Peer>(PEER);
  return runController(
    {
      name: 'peering.invite',
      sources: [
        watchSource(invites),
        watchSource(peers, ({ object }) =>
          object.spec.inviteID === undefined ? [] : [object.spec.inviteID],
        ),
      ],
      reconcile: async (name) => {
        const invite = invites.get(undefined, name);
        if (invite === undefined) return undefined;
        const plan = planInvite(invite, peers.list(), clock.now().getTime());
        if (!plan.delete) return { requeueAfterMs: plan.againMs };
        const { uid, resourceVersion } = invite.metadata;
        await client.delete(INVITE, name, undefined, { uid, resourceVersion, signal });
        log.info('an invite is used up or has expired', { invite: name });
        return undefined;
      },
      workers: 1,
      log,
      clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
