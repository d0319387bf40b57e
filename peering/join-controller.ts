import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { runController, watchSource } from '../runtime/kube/controller.ts';
import { isAlreadyExists } from '../runtime/kube/errors.ts';
import { SECRET } from '../runtime/kube/resources.ts';
import { splitKey, type Secret } from '../runtime/kube/types.ts';
import type { Identity } from './identity.ts';
import { checkToken } from './check-token.ts';
import { invitingPeer, joinByToken } from './join-client.ts';
import { formatJoinError, JOIN_ERROR, JOIN_SECRET_TYPE, readJoinSecret } from './join-secret.ts';
import { PEER } from './resources.ts';
import { parseToken } from './token.ts';

/** Carries out the joins that Secrets of type `fluvia.dev/join` ask for. */

/** How long an unreachable inviter is tried. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 2000;
/** How long a failed request stays to be read. */
const KEEP_FAILED_MS = 10 * 60_000;

/** Runs until `signal` aborts. */
export const runJoinController = (
  deps: ControllerDeps,
  identity: Identity,
  signal: AbortSignal,
): Promise<void> => {
  const { client, informers, clock, log, systemNamespace: namespace } = deps;
  const secrets = informers.for<Secret>(SECRET, { namespace, fieldSelector: `type=${JOIN_SECRET_TYPE}` });

  const remove = async (secret: Secret): Promise<void> => {
    await client.delete(SECRET, secret.metadata.name, namespace, { uid: secret.metadata.uid, signal });
  };

  const writePeer = async (wanted: Peer): Promise<void> => {
    try {
      await client.create(PEER, wanted, { signal });
      return;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const there = await client.get<Peer>(PEER, wanted.metadata.name, undefined, { signal });
    if (
      there === undefined ||
      there.spec.clusterID !== wanted.spec.clusterID ||
      there.metadata.deletionTimestamp !== undefined
    ) {
      throw new FluviaError(
        ERROR_CODES.CONFLICT,
        `Peer ${wanted.metadata.name} is in the way or is just being removed`,
        {
          kind: 'waiting',
          hint: 'try again in a few seconds',
        },
      );
    }
    const { pins, endpoints, roles, inviteID } = wanted.spec;
    const body = { spec: { pins, endpoints, roles, inviteID } };
    await client.patch(PEER, wanted.metadata.name, undefined, body, { type: 'merge', signal });
  };

  const join = async (secret: Secret): Promise<void> => {
    const { token: text, roles } = readJoinSecret(secret);
    const token = parseToken(text);
    const { items: peers } = await client.list<Peer>(PEER, { signal });
    checkToken(token, identity, peers, clock.now().getTime(), roles);
    await joinByToken(token, identity, signal, roles);
    await writePeer(invitingPeer(token, roles));
    log.info('joined', { peer: token.name, invite: token.id });
  };

  const ageMs = (secret: Secret): number =>
    clock.now().getTime() - Date.parse(secret.metadata.creationTimestamp ?? '');

  return runController(
    {
      name: 'peering.join',
      sources: [watchSource(secrets)],
      reconcile: async (key) => {
        const seen = secrets.getByKey(key);
        if (seen === undefined || seen.type !== JOIN_SECRET_TYPE) return undefined;
        if (seen.metadata.annotations?.[JOIN_ERROR] !== undefined) {
          const left = KEEP_FAILED_MS - ageMs(seen);
          if (left > 0) return { requeueAfterMs: left };
          await remove(seen);
          return undefined;
        }
        // Not from the cache: whoever asked may have given up.
        const secret = await client.get<Secret>(SECRET, splitKey(key).name, namespace, { signal });
        if (secret === undefined || secret.metadata.uid !== seen.metadata.uid) return undefined;
        try {
          await join(secret);
        } catch (error) {
          if (signal.aborted) return undefined;
          const failure =
            error instanceof FluviaError ? error : new FluviaError(ERROR_CODES.INTERNAL, messageOf(error));
          log.info('a join failed', { invite: secret.metadata.name, err: error });
          if (failure.kind !== 'terminal' && failure.kind !== 'stalled' && ageMs(secret) < PATIENCE_MS) {
            return { requeueAfterMs: RETRY_MS };
          }
          const body = {
            metadata: { uid: secret.metadata.uid, annotations: { [JOIN_ERROR]: formatJoinError(failure) } },
          };
          await client.patch(SECRET, secret.metadata.name, namespace, body, { type: 'merge', signal });
          return undefined;
        }
        await remove(secret);
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
