import { z } from 'zod';

/**
 * A cluster's ID: the first 26 characters of the base32 (RFC 4648, lower case) SHA-256 of its identity key's SPKI, so
 * that nobody can claim another's. Made by `peering/identity.ts`.
 */
export const ClusterId = z
  .string()
  .length(26)
  .regex(/^[a-z2-7]{26}$/);
export type ClusterId = z.infer<typeof ClusterId>;

/** SHA-256 of a key's SPKI, lower-case hex: what a peering pins. */
export const Pin = z
  .string()
  .length(64)
  .regex(/^[0-9a-f]{64}$/);
export type Pin = z.infer<typeof Pin>;

/** A DNS-1123 label: names of clusters, namespaces and most objects. */
export const DnsLabel = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/);
/** A DNS-1123 subdomain: names of pods and config objects. */
export const DnsSubdomain = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$/);
