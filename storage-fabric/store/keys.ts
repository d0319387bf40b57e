/**
 * Where everything lies in the bucket: the only place that builds and parses keys. A repository has restic's own layout, so
 * that restic can read the bucket without Fluvia. Pure.
 */
import type { Place } from './plan-access.ts';

/** Prefix of all that a tenant has. */
export const tenantPrefix = (tenant: string): string => `${tenant}/`;

/** Prefix of all that a volume has. */
export const volumePrefix = (tenant: string, volume: string): string => `${tenant}/${volume}/`;

/** Key of the object behind a place; for what is no object, the prefix of what is below it. */
export const objectKey = ({ tenant, volume, target }: Place): string => {
  const root = volumePrefix(tenant, volume);
  switch (target.kind) {
    case 'blob': {
      const folder = target.type === 'data' ? `data/${target.name.slice(0, 2)}` : target.type;
      return `${root}${folder}/${target.name}`;
    }
    case 'list':
      return `${root}${target.type}/`;
    case 'config':
      return `${root}config`;
    case 'commit':
      return `${root}fluvia/commits/${target.epoch}-${target.sequence}.json`;
    case 'commits':
      return `${root}fluvia/commits/`;
    case 'epoch':
      return `${root}fluvia/epoch.json`;
    case 'token':
    case 'tokens':
      return revokedPrefix(tenant);
    default:
      return root;
  }
};

/** Prefix of the snapshots whose IDs begin so. */
export const snapshotsPrefix = (tenant: string, volume: string, id: string): string =>
  `${volumePrefix(tenant, volume)}snapshots/${id}`;

/** Prefix of a tenant's revocations; no volume is named so. */
export const revokedPrefix = (tenant: string): string => `${tenant}/revoked/`;

/** Of one token, or of every token that was issued until then; `atMs` is when it was revoked, in ms since 1970. */
export interface Revocation {
  /** Missing: all of the tenant. */
  readonly id?: string;
  readonly atMs: number;
}

const ALL = 'all';
const REVOCATION = /\/revoked\/([0-9a-f]{32}|all)\.(\d{1,15})\.json$/;

/** Key under which a revocation is kept. */
export const revocationKey = (tenant: string, { id = ALL, atMs }: Revocation): string =>
  `${revokedPrefix(tenant)}${id}.${atMs}.json`;

/** The revocation that a key stands for; undefined for any other key. */
export const parseRevocationKey = (key: string): Revocation | undefined => {
  const [, id, at] = REVOCATION.exec(key) ?? [];
  if (id === undefined || at === undefined) return undefined;
  return id === ALL ? { atMs: Number(at) } : { id, atMs: Number(at) };
};

/** Last part of a key: the name by which restic knows a file. */
export const baseName = (key: string): string => key.slice(key.lastIndexOf('/') + 1);

/** What the front keeps for itself beside a volume's files: not counted as the volume's bytes. */
export const isMarker = (key: string): boolean => key.endsWith('/fluvia/epoch.json');
