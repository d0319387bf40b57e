import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { SYSTEM_NAMESPACE } from '../api/labels.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { Grant } from '../api/v1alpha1/grant.ts';
import type { Peer, PeerRole } from '../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import { systemClock, type Clock } from '../runtime/clock.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { isAlreadyExists, isConflict } from '../runtime/kube/errors.ts';
import { SECRET } from '../runtime/kube/resources.ts';
import type { Secret } from '../runtime/kube/types.ts';
import { checkToken } from './check-token.ts';
import { readPublicIdentity } from './identity.ts';
import { fingerprintOf } from './keys.ts';
import { joinSecret, joinSecretName, readJoinError } from './join-secret.ts';
import { CLAIM, GRANT, PEER, VIRTUAL_NODE } from './resources.ts';
import { parseToken, type InviteToken } from './token.ts';

/** What people ask of a cluster's controller with nothing but a kubeconfig; used by the CLI. */

export { createInvite, type CreatedInvite, type InviteOptions } from './invite.ts';

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly namespace?: string;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

export interface JoinOptions extends RequestOptions {
  /** What this cluster will be to the inviter; default all that the invite allows. */
  readonly roles?: readonly PeerRole[];
}

/** A finished join. */
export interface JoinResult {
  readonly peer: Peer;
  /** Equal to what the inviting cluster shows. */
  readonly fingerprint: string;
}

const POLL_MS = 300;

const controllerHint = 'check that its controller runs: kubectl -n fluvia-system get pods';

/** Polls until `read` gives something. */
const until = async <T>(
  options: RequestOptions,
  read: () => Promise<T | undefined>,
  onTimeout: () => FluviaError,
): Promise<T> => {
  const clock = options.clock ?? systemClock;
  const deadline = clock.monotonicMs() + options.timeoutMs;
  for (;;) {
    const found = await read();
    if (found !== undefined) return found;
    options.signal?.throwIfAborted();
    if (clock.monotonicMs() >= deadline) throw onTimeout();
    await clock.sleep(POLL_MS, options.signal);
  }
};

const removeSecret = async (client: KubeClient, name: string, namespace: string): Promise<void> => {
  await client.delete(SECRET, name, namespace);
};

const createSecret = async (
  client: KubeClient,
  token: string,
  invite: InviteToken,
  namespace: string,
  options: JoinOptions,
): Promise<void> => {
  const manifest = joinSecret(namespace, invite.id, token.trim(), options.roles);
  try {
    await client.create(SECRET, manifest, { signal: options.signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    // Left by an earlier attempt: its answer is not for us.
    await removeSecret(client, joinSecretName(invite.id), namespace);
    await client.create(SECRET, manifest, { signal: options.signal });
  }
};

/**
 * Asks a cluster's controller to accept an invite, and waits until it has.
 * @throws {FluviaError} INVITE_* and the inviter's other refusals, UNREACHABLE, NOT_INSTALLED, TIMEOUT; nothing is left behind.
 */
export const requestJoin = async (
  client: KubeClient,
  token: string,
  options: JoinOptions,
): Promise<JoinResult> => {
  const { namespace = SYSTEM_NAMESPACE, signal } = options;
  const invite = parseToken(token);
  const own = await readPublicIdentity(client, { namespace, signal });
  const { items: peers } = await client.list<Peer>(PEER, { signal });
  const now = (options.clock ?? systemClock).now().getTime();
  // The controller looks again; what can be told now needs no Secret.
  checkToken(invite, own, peers, now, options.roles);
  const name = joinSecretName(invite.id);
  await createSecret(client, token, invite, namespace, options);
  try {
    const peer = await until(
      options,
      async () => {
        const secret = await client.get<Secret>(SECRET, name, namespace, { signal });
        if (secret !== undefined) {
          const error = readJoinError(secret);
          if (error !== undefined) throw error;
          return undefined;
        }
        const { items } = await client.list<Peer>(PEER, { signal });
        const found = items.find(
          (p) => p.spec.clusterID === invite.clusterID && p.spec.inviteID === invite.id,
        );
        if (found !== undefined) return found;
        throw new FluviaError(ERROR_CODES.CONFLICT, 'the request to join was removed by somebody else', {
          hint: 'join again',
        });
      },
      () =>
        new FluviaError(
          ERROR_CODES.TIMEOUT,
          `${own.name} has not joined within ${options.timeoutMs / 1000} s`,
          {
            hint: controllerHint,
          },
        ),
    );
    return { peer, fingerprint: fingerprintOf(own.pin, invite.pin) };
  } catch (error) {
    // The token is a secret and must not stay, whatever happened; the controller reads it anew before it dials.
    await removeSecret(client, name, namespace).catch(() => {});
    throw error;
  }
};

/**
 * Ends a peering at this cluster and waits until its objects are gone; the other side is told if it can be.
 * @throws {FluviaError} NOT_FOUND when there is no such Peer, TIMEOUT.
 */
export const requestUnpeer = async (
  client: KubeClient,
  peerName: string,
  options: RequestOptions,
): Promise<void> => {
  const { signal } = options;
  const peer = await client.get<Peer>(PEER, peerName, undefined, { signal });
  if (peer === undefined) {
    throw new FluviaError(ERROR_CODES.NOT_FOUND, `there is no peer ${peerName}`, {
      kind: 'terminal',
      hint: 'fluviactl get peers lists them',
    });
  }
  const { uid } = peer.metadata;
  try {
    await client.delete(PEER, peerName, undefined, { uid, signal });
  } catch (error) {
    // A Peer of that name that was made meanwhile is another one.
    if (!isConflict(error)) throw error;
  }
  let left = 'Peer';
  await until(
    options,
    async () => {
      const there = await client.get<Peer>(PEER, peerName, undefined, { signal });
      if (there !== undefined && there.metadata.uid === uid) return undefined;
      if (there !== undefined) return true;
      const lists = await Promise.all([
        client.list<Claim>(CLAIM, { signal }),
        client.list<Grant>(GRANT, { signal }),
        client.list<VirtualNode>(VIRTUAL_NODE, { signal }),
      ]);
      const rest = lists.flatMap(({ items }) => items as readonly (Claim | Grant | VirtualNode)[]);
      const still = rest.find((object) => object.spec.peer === peerName);
      left = still === undefined ? left : `${still.kind} ${still.metadata.name}`;
      return still === undefined ? true : undefined;
    },
    () =>
      new FluviaError(
        ERROR_CODES.TIMEOUT,
        `${left} of peering ${peerName} is not gone after ${options.timeoutMs / 1000} s`,
        {
          hint: `${controllerHint}; it goes on removing it, so look again; if the peer is gone for good: fluviactl unpeer ${peerName} --forget`,
        },
      ),
  );
};
