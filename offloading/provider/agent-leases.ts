/** Asks an agent of this cluster which leases it holds, so that a new leader needn't stop what may run. */
import { z } from 'zod';
import { PORTS } from '../../api/labels.ts';

const PATIENCE_MS = 1500;
const MAX_BYTES = 4_194_304;
const Leases = z.record(z.string().max(26), z.record(z.string().max(64), z.number().min(0).max(3_600_000)));

/** Cluster → UID of the pod at home → milliseconds left. */
export type AgentLeases = ReadonlyMap<string, ReadonlyMap<string, number>>;

/**
 * What the agent at this address of its node holds for these pods (cluster → UIDs at home); empty when it doesn't answer soon.
 * It tells of pods only that are named: foreign pods can ask it, too.
 */
export const fetchAgentLeases = async (
  address: string,
  pods: Readonly<Record<string, readonly string[]>>,
  signal: AbortSignal,
  port: number = PORTS.fence,
): Promise<AgentLeases> => {
  try {
    const answer = await fetch(`http://${address}:${port}/leases`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(pods),
      signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
      redirect: 'error',
    });
    const text = await answer.text();
    if (!answer.ok || text.length > MAX_BYTES) return new Map();
    const told = Leases.parse(JSON.parse(text));
    return new Map(Object.entries(told).map(([id, left]) => [id, new Map(Object.entries(left))]));
  } catch {
    return new Map();
  }
};
