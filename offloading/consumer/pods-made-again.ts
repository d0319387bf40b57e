/** Pods that are deleted for their owner to make them again, since they can't run where they were sent. */
import { controllerOf } from '../../api/owners.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { POD } from '../../runtime/kube/resources.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { NO_NODE, type Exclusions } from './exclusions.ts';
import { isGated, type Home } from './home.ts';
import { whyLeftBehind } from './plan-left-behind.ts';
import type { GatedPod, Planner } from './plan-placement.ts';
import type { StrandedPod } from './stranded-pods.ts';

export interface MadeAgainOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly exclusions: Exclusions;
  /** The pod as the planner sees it, as if its volumes that were never made could still be made anywhere. */
  readonly toPlan: (pod: Pod) => GatedPod;
}

export interface PodsMadeAgain {
  /** Has pods made again that fit elsewhere, a few at once; a bare pod is never moved. */
  move(stranded: readonly StrandedPod[], planner: Planner): Promise<void>;
  /** Has pods made again whose volume went elsewhere before they were bound, or in that moment. */
  releaseLeftBehind(): Promise<void>;
}

/** So many are deleted in one pass, and looked at. */
const MOVE_AT_ONCE = 16;
const LOOK_AT_ONCE = 64;

/** Each delete names the pod that was seen. */
export const createPodsMadeAgain = (
  { deps, home, exclusions, toPlan }: MadeAgainOptions,
  signal: AbortSignal,
): PodsMadeAgain => {
  /** Where the next pass begins to look: those that fit nowhere must not keep the others waiting. */
  let next = 0;

  const remove = async ({ metadata }: Pod): Promise<void> => {
    const { name, namespace, uid } = metadata;
    await deps.client.delete(POD, name, namespace, { uid, signal }).catch((error: unknown) => {
      if (!isConflict(error) && !isNotFound(error)) throw error;
    });
  };

  const moveOne = async ({ pod, peer, reason, message }: StrandedPod, planner: Planner): Promise<boolean> => {
    const wanted = toPlan(pod);
    // Its own affinity was narrowed to the candidates of then: the next one's isn't.
    const spec = { ...wanted.spec, affinity: undefined };
    const excluded = new Map([...wanted.excluded, [peer, message]]);
    const best = planner.place({ ...wanted, spec, excluded }).ranked[0];
    if (best === undefined) return false;
    const isWithoutNode = reason === NO_NODE;
    // Of a volume that can't be made the volume itself says it, to every pod that wants it.
    if (isWithoutNode) exclusions.exclude(pod, peer, reason, message);
    const what = isWithoutNode ? 'accepted it and then had no node for it' : 'could not make its volume';
    const note = `peer ${peer} ${what}: ${message}; made again elsewhere`;
    deps.events.record(pod, { type: 'Warning', reason, note });
    await remove(pod);
    return true;
  };

  return {
    move: async (stranded, planner) => {
      const begin = stranded.length === 0 ? 0 : next % stranded.length;
      const inTurn = [...stranded.slice(begin), ...stranded.slice(0, begin)].slice(0, LOOK_AT_ONCE);
      let moved = 0;
      for (const [index, one] of inTurn.entries()) {
        if (moved === MOVE_AT_ONCE) return;
        next = begin + index + 1;
        if (await moveOne(one, planner)) moved += 1;
      }
    },
    releaseLeftBehind: async () => {
      for (const pod of home.pods.list()) {
        const { namespace = '', deletionTimestamp } = pod.metadata;
        if (isGated(pod) || deletionTimestamp !== undefined) continue;
        const why = whyLeftBehind(pod, home.virtualNodeOf(pod)?.spec.peer, {
          claim: (claim) => home.volumeClaims.get(namespace, claim),
          volume: (volume) => home.volumes.get(undefined, volume),
        });
        if (why === undefined || controllerOf(pod) === undefined) continue;
        const note = `${why}; made again there`;
        deps.events.record(pod, { type: 'Normal', reason: 'VolumeElsewhere', note });
        await remove(pod);
      }
    },
  };
};
