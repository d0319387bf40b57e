import type { TLSSocket } from 'node:tls';
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW } from '../../runtime/kube/resources.ts';
import type { SubjectAccessReview, TokenReview } from '../../runtime/kube/types.ts';
import { createHash } from 'node:crypto';

/** Who calls a virtual kubelet. */
export interface Caller {
  readonly user: string;
  readonly groups: readonly string[];
}

/** What is asked, in the words of the kubelet's authorisation: `nodes/<subresource>` of that node. */
export interface KubeletAccess {
  readonly verb: 'get' | 'create' | 'update' | 'patch' | 'delete';
  readonly subresource: 'proxy' | 'log' | 'stats' | 'metrics' | 'pods' | 'healthz';
}

/** 401: nobody we know; 403: not allowed; else who it is. */
export type AuthResult =
  | { readonly status: 200; readonly caller: Caller }
  | { readonly status: 401 | 403; readonly message: string };

/** Authenticates and authorises a request for one node as a kubelet does. */
export interface KubeletAuth {
  check(request: IncomingMessage, node: string, access: KubeletAccess): Promise<AuthResult>;
}

const ALLOWED_MS = 60_000;
const DENIED_MS = 10_000;
const TOKEN_MS = 60_000;
const MAX_ENTRIES = 4096;
const MAX_TOKEN = 16_384;

const VERBS: Readonly<Record<string, KubeletAccess['verb']>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/**
 * The access that a path needs (kubernetes: pkg/kubelet/server/auth.go). Where it differs on purpose: exec, attach and
 * port-forward always need `create`, so that `get nodes/proxy` is no way into a container by WebSocket.
 */
export const accessOf = (method: string, path: string): KubeletAccess => {
  const first = path.split('/')[1] ?? '';
  const verb = VERBS[method] ?? 'create';
  if (first === 'exec' || first === 'attach' || first === 'portForward')
    return { verb: 'create', subresource: 'proxy' };
  if (first === 'stats' || first === 'metrics') return { verb, subresource: first };
  if (first === 'logs') return { verb, subresource: 'log' };
  if (first === 'pods' || first === 'healthz') return { verb, subresource: first };
  return { verb, subresource: 'proxy' };
};

const list = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === 'string' ? [value] : value;

/** The caller named by a client certificate that chains to the API server's kubelet client CA. */
const callerByCertificate = (request: IncomingMessage): Caller | undefined => {
  const socket = request.socket as TLSSocket;
  if (!socket.authorized) return undefined;
  const { subject } = socket.getPeerCertificate();
  const user = list(subject?.CN)[0];
  if (!user) return undefined;
  return { user, groups: [...list(subject.O), 'system:authenticated'] };
};

/** A small cache whose entries expire; the oldest goes when it is full. */
const expiring = <T>(clock: Clock) => {
  const entries = new Map<string, { readonly value: T; readonly until: number }>();
  return {
    get: (key: string): T | undefined => {
      const entry = entries.get(key);
      return entry !== undefined && entry.until > clock.monotonicMs() ? entry.value : undefined;
    },
    set: (key: string, value: T, ms: number): void => {
      entries.delete(key);
      entries.set(key, { value, until: clock.monotonicMs() + ms });
      const oldest = entries.keys().next();
      if (entries.size > MAX_ENTRIES && oldest.done !== true) entries.delete(oldest.value);
    },
  };
};

/** Authentication by the certificate, else by a bearer token (TokenReview); authorisation by SubjectAccessReview. */
export const createKubeletAuth = (client: KubeClient, clock: Clock): KubeletAuth => {
  const decisions = expiring<boolean>(clock);
  const tokens = expiring<Caller>(clock);

  const callerByToken = async (request: IncomingMessage): Promise<Caller | undefined> => {
    const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined || token.length > MAX_TOKEN) return undefined;
    const key = createHash('sha256').update(token).digest('base64');
    const known = tokens.get(key);
    if (known !== undefined) return known;
    const review = await client.create<TokenReview>(TOKEN_REVIEW, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      metadata: { name: '' },
      spec: { token },
    });
    const found = review.status;
    if (found?.authenticated !== true || !found.user?.username) return undefined;
    const caller = { user: found.user.username, groups: found.user.groups ?? [] };
    tokens.set(key, caller, TOKEN_MS);
    return caller;
  };

  const ask = async (caller: Caller, node: string, access: KubeletAccess): Promise<boolean> => {
    const key = JSON.stringify([caller.user, caller.groups, node, access.verb, access.subresource]);
    const known = decisions.get(key);
    if (known !== undefined) return known;
    const review = await client.create<SubjectAccessReview>(SUBJECT_ACCESS_REVIEW, {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: { name: '' },
      spec: {
        user: caller.user,
        groups: caller.groups,
        resourceAttributes: {
          version: 'v1',
          resource: 'nodes',
          verb: access.verb,
          subresource: access.subresource,
          name: node,
        },
      },
    });
    const isAllowed = review.status?.allowed === true && review.status.denied !== true;
    decisions.set(key, isAllowed, isAllowed ? ALLOWED_MS : DENIED_MS);
    return isAllowed;
  };

  const isAllowed = async (caller: Caller, node: string, access: KubeletAccess): Promise<boolean> => {
    if (await ask(caller, node, access)) return true;
    // The fine-grained subresources are an alternative to nodes/proxy, as with a kubelet.
    const isFine = access.subresource === 'pods' || access.subresource === 'healthz';
    return isFine && ask(caller, node, { ...access, subresource: 'proxy' });
  };

  return {
    check: async (request, node, access) => {
      const caller = callerByCertificate(request) ?? (await callerByToken(request));
      if (caller === undefined) return { status: 401, message: 'Unauthorized' };
      if (await isAllowed(caller, node, access)) return { status: 200, caller };
      const message = `Forbidden (user=${caller.user}, verb=${access.verb}, resource=nodes, subresource=${access.subresource})`;
      return { status: 403, message };
    },
  };
};
