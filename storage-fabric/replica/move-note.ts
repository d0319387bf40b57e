import { z } from 'zod';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';

/**
 * A move under way, as it stands on the placeholder (annotation `fluvia.dev/move`). While it stands the volume is usable
 * nowhere. `salvage`: what a lost peer wrote last is kept before its copy is overwritten; `stop`: its writers end; `copy`: the
 * last delta goes to the target's store; `restore`: the target's copy becomes the recovery point, at a raised epoch.
 */
export const MoveNote = z.object({
  kind: z.enum(['planned', 'failover']),
  from: z.string().max(63),
  to: z.string().max(63),
  stage: z.enum(['salvage', 'stop', 'copy', 'restore']),
  startedAt: z.string().max(64),
  /** Whether the peer that it goes from is lost: what it wrote last is there only. */
  isLost: z.boolean().optional(),
  /** When a peer that is lost was heard last; missing where nobody knows. */
  lostAt: z.string().max(64).optional(),
  /** What is restored; from a peer's store, or from home's own. */
  point: RecoveryPoint.extend({ peer: z.string().max(63) }).optional(),
  failures: z.number().int().min(0),
  /** Whether a person wants the volume to stay where it was: the move ends. */
  isTakenBack: z.boolean().optional(),
  /** When it failed last, RFC 3339: the next try has time. */
  failedAt: z.string().max(64).optional(),
  message: z.string().max(1024).optional(),
});
export type MoveNote = z.infer<typeof MoveNote>;

/** How far the step under way is, bytes, or what its mover waits for (annotation `fluvia.dev/move-progress`). */
export const MoveProgress = z.object({
  stage: z.enum(['salvage', 'stop', 'copy', 'restore']),
  done: z.number().min(0),
  total: z.number().min(0),
  /** What it waits for. */
  message: z.string().max(1024).optional(),
});
export type MoveProgress = z.infer<typeof MoveProgress>;

/** How a move ended (annotation `fluvia.dev/last-move`). */
export const MoveEnd = z.object({
  kind: z.enum(['planned', 'failover']),
  from: z.string(),
  to: z.string(),
  ok: z.boolean(),
  endedAt: z.string(),
  message: z.string().max(1024),
  /** When what runs now was cut; missing after a move that failed. */
  cutAt: z.string().optional(),
  /** When the peer that was lost was heard last; missing after a planned move. */
  lostAt: z.string().optional(),
});
export type MoveEnd = z.infer<typeof MoveEnd>;

const parse = <T>(schema: z.ZodType<T>, text: string | undefined): T | undefined => {
  if (text === undefined) return undefined;
  try {
    const parsed = schema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
};

/** The move under way of a placeholder. */
export const moveNoteOf = (volume: PersistentVolume): MoveNote | undefined =>
  parse(MoveNote, volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move]);

/** How far the move of a placeholder is. */
export const moveProgressOf = (volume: PersistentVolume): MoveProgress | undefined =>
  parse(MoveProgress, volume.metadata.annotations?.[STORAGE_ANNOTATIONS.moveProgress]);

/** How the last move of a placeholder ended. */
export const moveEndOf = (volume: PersistentVolume): MoveEnd | undefined =>
  parse(MoveEnd, volume.metadata.annotations?.[STORAGE_ANNOTATIONS.lastMove]);
