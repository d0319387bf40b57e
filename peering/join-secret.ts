import { z } from 'zod';
import { ERROR_CODES, FluviaError, type ErrorCode } from '../api/errors.ts';
import { LABELS, MANAGED_BY } from '../api/labels.ts';
import { PeerRole } from '../api/v1alpha1/peer.ts';
import type { Secret } from '../runtime/kube/types.ts';

/** The Secret by which somebody asks a cluster's controller to accept an invite: `join-<invite ID>`. */

/** Type of the Secret. */
export const JOIN_SECRET_TYPE = 'fluvia.dev/join';
/** Annotation with {@link formatJoinError}'s text once it has failed. */
export const JOIN_ERROR = 'fluvia.dev/join-error';

/** Name of the Secret for an invite. */
export const joinSecretName = (inviteID: string): string => `join-${inviteID}`;

/** The Secret that asks to join. */
export const joinSecret = (
  namespace: string,
  inviteID: string,
  token: string,
  roles: readonly PeerRole[] | undefined,
) => ({
  metadata: {
    name: joinSecretName(inviteID),
    namespace,
    labels: { [LABELS.managedBy]: MANAGED_BY },
  },
  type: JOIN_SECRET_TYPE,
  stringData: { token, ...(roles === undefined ? {} : { roles: roles.join(',') }) },
});

/** Token and roles in the Secret; empty text when there is no token. */
export const readJoinSecret = (
  secret: Secret,
): { readonly token: string; readonly roles: readonly PeerRole[] | undefined } => {
  const text = (key: string): string => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
  const roles = z.array(PeerRole).min(1).safeParse(text('roles').split(','));
  return { token: text('token'), roles: roles.success ? roles.data : undefined };
};

const Failure = z.object({ code: z.enum(ERROR_CODES), message: z.string(), hint: z.string().optional() });

/** Text of the annotation. */
export const formatJoinError = (error: FluviaError): string =>
  JSON.stringify({ code: error.code, message: error.message, hint: error.hint });

/** The error that the controller wrote; undefined when it hasn't failed. */
export const readJoinError = (secret: Secret): FluviaError | undefined => {
  const text = secret.metadata.annotations?.[JOIN_ERROR];
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  const parsed = Failure.safeParse(json);
  const failure: { code: ErrorCode; message: string; hint?: string | undefined } = parsed.success
    ? parsed.data
    : { code: ERROR_CODES.INTERNAL, message: text.slice(0, 300) };
  return new FluviaError(failure.code, failure.message, {
    kind: 'terminal',
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
  });
};
