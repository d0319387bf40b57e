/** Who may do what at the store's front: paths, kinds of tokens, append-only, epochs. Pure. */
import { ERROR_CODES, type ErrorCode } from '../../api/errors.ts';

/** Kinds of files of a restic repository that are named by the SHA-256 of their content. */
export const BLOB_TYPES = ['data', 'index', 'keys', 'locks', 'snapshots'] as const;
export type BlobType = (typeof BLOB_TYPES)[number];

/** What a path names. */
export type Target =
  | { readonly kind: 'repository' | 'config' | 'epoch' | 'usage' | 'commits' }
  | { readonly kind: 'list'; readonly type: BlobType }
  | { readonly kind: 'blob'; readonly type: BlobType; readonly name: string }
  | { readonly kind: 'commit'; readonly epoch: number; readonly sequence: number }
  | { readonly kind: 'token'; readonly id: string }
  /** All tokens of the tenant. */
  | { readonly kind: 'tokens' };

export interface Place {
  readonly tenant: string;
  /** `-` for what belongs to no volume. */
  readonly volume: string;
  readonly target: Target;
}

const ROOT = /^\/([0-9a-z]{26})\/(v[0-9a-f]{16})\/(.*)$/;
const TOKEN = /^\/([0-9a-z]{26})\/-\/fluvia\/tokens\/([0-9a-f]{32})?$/;
const BLOB = /^(data|index|keys|locks|snapshots)\/(?:([0-9a-f]{64}))?$/;
const COMMIT = /^fluvia\/commits\/(0|[1-9]\d{0,14})-(0|[1-9]\d{0,14})\.json$/;
const PLAIN: Readonly<Record<string, Target>> = {
  '': { kind: 'repository' },
  config: { kind: 'config' },
  'fluvia/epoch': { kind: 'epoch' },
  'fluvia/usage': { kind: 'usage' },
  'fluvia/commits/': { kind: 'commits' },
};

/**
 * What a request's path (as sent, without the query) names; undefined for everything else. Nothing is decoded or
 * normalised: a path with an escape, a dot segment or a doubled slash names nothing.
 */
export const parsePath = (path: string): Place | undefined => {
  const [, owner, id] = TOKEN.exec(path) ?? [];
  if (owner !== undefined) {
    return {
      tenant: owner,
      volume: '-',
      target: id === undefined ? { kind: 'tokens' } : { kind: 'token', id },
    };
  }
  const [, tenant, volume, rest] = ROOT.exec(path) ?? [];
  if (tenant === undefined || volume === undefined || rest === undefined) return undefined;
  const plain = Object.hasOwn(PLAIN, rest) ? PLAIN[rest] : undefined;
  if (plain !== undefined) return { tenant, volume, target: plain };
  const [, type, name] = BLOB.exec(rest) ?? [];
  if (type !== undefined) {
    const kind = type as BlobType;
    return {
      tenant,
      volume,
      target: name === undefined ? { kind: 'list', type: kind } : { kind: 'blob', type: kind, name },
    };
  }
  const [, epoch, sequence] = COMMIT.exec(rest) ?? [];
  if (epoch === undefined || sequence === undefined) return undefined;
  return { tenant, volume, target: { kind: 'commit', epoch: Number(epoch), sequence: Number(sequence) } };
};

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';

/** What a token says, as far as the decision needs it. */
export interface Holder {
  readonly tenant: string;
  readonly volume: string;
  readonly kind: 'append' | 'maintain' | 'read' | 'control';
  readonly epoch: number;
}

/** What the request does. */
export type Action = 'read' | 'write' | 'create' | 'delete' | 'raise' | 'revoke';

export type Decision =
  | { readonly allowed: true; readonly action: Action }
  | { readonly allowed: false; readonly status: number; readonly code: ErrorCode; readonly message: string };

const refuse = (status: number, code: ErrorCode, message: string): Decision => ({
  allowed: false,
  status,
  code,
  message,
});

const actionOf = (method: string, { kind }: Target): Action | undefined => {
  if (kind === 'token' || kind === 'tokens') return method === 'DELETE' ? 'revoke' : undefined;
  if (kind === 'epoch' && method === 'PUT') return 'raise';
  if (method === 'GET' || method === 'HEAD') return kind === 'repository' ? undefined : 'read';
  if (kind === 'repository') return method === 'POST' ? 'create' : undefined;
  if (kind === 'blob') return method === 'POST' ? 'write' : method === 'DELETE' ? 'delete' : undefined;
  if (kind === 'config') return method === 'POST' ? 'write' : undefined;
  if (kind === 'commit') return method === 'PUT' ? 'write' : method === 'DELETE' ? 'delete' : undefined;
  return undefined;
};

const mayDelete = (kind: Holder['kind'], target: Target): boolean =>
  kind === 'maintain' || (kind === 'append' && target.kind === 'blob' && target.type === 'locks');

/** restic locks even what it only reads. */
const mayWrite = (kind: Holder['kind'], target: Target): boolean => {
  if (target.kind === 'commit') return kind === 'append';
  return kind === 'append' || kind === 'maintain';
};

/**
 * Whether a request is allowed. `epoch` is the volume's current one, as the store knows it; a token of a higher epoch
 * raises it before anything is decided, so only a lower one is stale. `append` adds and deletes nothing but locks,
 * `maintain` may delete, `read` only reads.
 */
export const decideAccess = (method: string, place: Place, holder: Holder, epoch: number): Decision => {
  const action = actionOf(method, place.target);
  if (action === undefined) return refuse(405, ERROR_CODES.BAD_INPUT, `${method} means nothing here`);
  if (holder.tenant !== place.tenant || holder.volume !== place.volume) {
    return refuse(403, ERROR_CODES.FORBIDDEN, 'the token is for another volume');
  }
  if (action === 'revoke') {
    return holder.kind === 'control'
      ? { allowed: true, action }
      : refuse(403, ERROR_CODES.FORBIDDEN, "only the store's own cluster revokes tokens");
  }
  if (holder.kind === 'control') return refuse(403, ERROR_CODES.FORBIDDEN, 'a control token opens no volume');
  if (holder.epoch < epoch) {
    return refuse(
      403,
      ERROR_CODES.STALE_EPOCH,
      `the token is of epoch ${holder.epoch}, the volume is at ${epoch}: it has moved on`,
    );
  }
  if (action === 'delete' && !mayDelete(holder.kind, place.target)) {
    return refuse(403, ERROR_CODES.FORBIDDEN, `a token of kind ${holder.kind} must not delete this`);
  }
  if ((action === 'write' || action === 'create') && !mayWrite(holder.kind, place.target)) {
    return refuse(403, ERROR_CODES.FORBIDDEN, `a token of kind ${holder.kind} must not write this`);
  }
  if (action === 'write' && place.target.kind === 'commit' && place.target.epoch !== holder.epoch) {
    return refuse(403, ERROR_CODES.STALE_EPOCH, `a commit of epoch ${place.target.epoch} needs its token`);
  }
  return { allowed: true, action };
};
