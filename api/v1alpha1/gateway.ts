import { z } from 'zod';
import { CidrString } from '../cidr.ts';
import { DnsLabel } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** A WireGuard public key, base64 of 32 bytes. */
export const WireguardKey = z
  .string()
  .length(44)
  .regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/);

/** A node that holds tunnels; named as the Node. Spec by the controller, status by the node's agent. */
export const GatewayKind = defineKind({
  kind: 'Gateway',
  plural: 'gateways',
  shortNames: ['gw'],
  scope: 'Cluster',
  description: 'A node that holds the tunnels to peers.',
  spec: z.object({
    listenPort: z.number().int().min(1).max(65535),
    mtu: z.number().int().min(1280).max(9000).optional(),
    peers: z
      .array(
        z.object({
          peer: DnsLabel,
          publicKey: WireguardKey,
          endpoints: z.array(z.string().max(260)).max(8),
          allowedIPs: z.array(CidrString).max(64),
          probeAddress: z
            .string()
            .max(15)
            .optional()
            .describe("Address of the peer's gateway as this cluster sees it."),
        }),
      )
      .max(1024)
      .default([]),
  }),
  status: z.object({
    publicKey: WireguardKey.optional(),
    implementation: z.enum(['kernel', 'wireguard-go']).optional(),
    heartbeatAt: z.string().max(64).optional(),
    observedGeneration: z.number().int().optional(),
    peers: z
      .array(
        z.object({
          peer: DnsLabel,
          endpoint: z.string().max(260).optional(),
          handshakeAt: z.string().max(64).optional(),
          rxBytes: z.number().int().optional(),
          txBytes: z.number().int().optional(),
          rttMilliseconds: z.number().optional(),
          lossPercent: z.number().optional(),
          probesUnanswered: z
            .number()
            .int()
            .optional()
            .describe('Probes without an answer since the last one.'),
        }),
      )
      .max(1024)
      .optional(),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Implementation', type: 'string', jsonPath: '.status.implementation' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Heartbeat', type: 'date', jsonPath: '.status.heartbeatAt' },
    AGE_COLUMN,
  ],
});
export type Gateway = ObjectOf<typeof GatewayKind>;
