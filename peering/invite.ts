import { randomBytes } from 'node:crypto';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { ANNOTATIONS, LABELS, MANAGED_BY, NAMES, SYSTEM_NAMESPACE } from '../api/labels.ts';
import type { PeerRole } from '../api/v1alpha1/peer.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { NODE, SERVICE } from '../runtime/kube/resources.ts';
import type { Node, Service } from '../runtime/kube/types.ts';
import { readPublicIdentity } from './identity.ts';
import { base32 } from './keys.ts';
import { FEATURES, PROTOCOL } from './protocol.ts';
import { INVITE } from './resources.ts';
import { Endpoint, formatToken, type InviteToken } from './token.ts';
import { inviteKeyOfSeed, rawPublicKey } from './transcript.ts';

/** Makes invites; needs only a kubeconfig of the inviting cluster. */

export interface InviteOptions {
  /** What the joiner will be to the inviting cluster; default both. */
  readonly roles?: readonly PeerRole[];
  /** host:port at which the inviting cluster is reachable; default: those it was installed with, else found. */
  readonly endpoints?: readonly string[];
  /** Default one hour. */
  readonly validForMs?: number;
  /** Default 1. */
  readonly uses?: number;
  readonly namespace?: string;
  readonly signal?: AbortSignal;
  /** Default: the wall clock. */
  readonly now?: () => Date;
}

export interface CreatedInvite {
  /** What to hand to the joiner; secret. */
  readonly token: string;
  readonly invite: InviteToken;
}

interface IngressStatus {
  readonly loadBalancer?: {
    readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[];
  };
}

const bracket = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** Where a Service can be reached from outside, best first. Pure. */
export const endpointsOf = (service: Service, nodes: readonly Node[]): string[] => {
  const port = service.spec.ports?.find((p) => p.name === 'peering') ?? service.spec.ports?.[0];
  const named = (service.metadata.annotations?.[ANNOTATIONS.peeringEndpoints] ?? '')
    .split(',')
    .filter((text) => text !== '');
  if (named.length > 0 || port === undefined) return named.slice(0, 8);
  const ingress = ((service.status as IngressStatus | undefined)?.loadBalancer?.ingress ?? [])
    .map(({ ip, hostname }) => ip ?? hostname)
    .filter((host) => host !== undefined)
    .map((host) => `${bracket(host)}:${port.port}`);
  const { nodePort } = port;
  if (nodePort === undefined) return ingress.slice(0, 8);
  const real = nodes.filter((node) => !(LABELS.virtualNode in (node.metadata.labels ?? {})));
  const addresses = (type: string): string[] =>
    real.flatMap((node) =>
      (node.status?.addresses ?? [])
        .filter((a) => a.type === type)
        .map((a) => `${bracket(a.address)}:${nodePort}`),
    );
  return [...new Set([...ingress, ...addresses('ExternalIP'), ...addresses('InternalIP')])].slice(0, 8);
};

const findEndpoints = async (
  client: KubeClient,
  namespace: string,
  signal: AbortSignal | undefined,
): Promise<string[]> => {
  const service = await client.get<Service>(SERVICE, NAMES.peeringService, namespace, { signal });
  const { items: nodes } = await client.list<Node>(NODE, { signal });
  const found = service === undefined ? [] : endpointsOf(service, nodes);
  if (found.length > 0) return found;
  throw new FluviaError(
    ERROR_CODES.NOT_INSTALLED,
    `${client.server.host}: no address is known under which this cluster can be reached`,
    { kind: 'stalled', hint: 'give one: fluviactl invite --endpoint HOST:PORT' },
  );
};

/**
 * Makes an Invite and the token for it.
 * @throws {FluviaError} NOT_INSTALLED, or BAD_INPUT for an endpoint that isn't host:port.
 */
export const createInvite = async (
  client: KubeClient,
  options: InviteOptions = {},
): Promise<CreatedInvite> => {
  const { namespace = SYSTEM_NAMESPACE, roles = ['Consumer', 'Provider'], uses = 1, signal } = options;
  const own = await readPublicIdentity(client, { namespace, signal });
  const endpoints = [...(options.endpoints ?? (await findEndpoints(client, namespace, signal)))];
  const bad = endpoints.find((endpoint) => !Endpoint.safeParse(endpoint).success);
  if (bad !== undefined) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `${bad} is not host:port`, {
      kind: 'terminal',
      hint: 'write e.g. fluvia.example.org:31443',
    });
  }
  const now = options.now?.() ?? new Date();
  const seed = randomBytes(32).toString('base64url');
  const invite: InviteToken = {
    v: 1,
    id: `inv-${base32(randomBytes(10))}`,
    seed,
    pin: own.pin,
    clusterID: own.clusterID,
    name: own.name,
    roles: [...roles],
    expiresAt: new Date(now.getTime() + (options.validForMs ?? 3_600_000)).toISOString(),
    endpoints,
    protocol: { ...PROTOCOL },
    features: [...FEATURES],
  };
  const spec = {
    publicKey: rawPublicKey(inviteKeyOfSeed(seed)),
    expiresAt: invite.expiresAt,
    uses,
    roles: [...roles],
    endpoints,
    usedBy: [],
  };
  const metadata = { name: invite.id, labels: { [LABELS.managedBy]: MANAGED_BY } };
  await client.create(INVITE, { metadata, spec }, { signal });
  return { token: formatToken(invite), invite };
};
