/** What is to be done next about one pod of a consumer: one step at a time, safe to crash after any. */

/** What the consumer wants of the pod. */
export interface WantedShadow {
  readonly uid: string;
  /** Set once the home pod is being deleted. */
  readonly deletionGraceSeconds?: number | undefined;
}

/** The ShadowPod as it is now. */
export interface ExistingShadow {
  readonly uid: string;
  readonly homeUID: string;
  readonly terminating: boolean;
  readonly restartPolicy: string;
  readonly phase: string | undefined;
  /** The pod that was last seen for it. */
  readonly podUID: string | undefined;
}

/** Whether a pod that runs only on a lease may run (see `fence-leases.ts`), and the grace when it must stop. */
export interface FenceWorld {
  readonly state: 'open' | 'closed' | 'unknown';
  readonly graceSeconds: number;
}

/** The pod of that name in the twin, if it is ours. */
export interface ExistingPod {
  readonly uid: string;
  readonly ownerUID: string | undefined;
  readonly phase: string | undefined;
  readonly reason: string | undefined;
  readonly terminating: boolean;
  /** Once it is being deleted. */
  readonly graceSeconds: number | undefined;
  /** `terminationGracePeriodSeconds`, which its consumer chose. */
  readonly ownGraceSeconds?: number | undefined;
}

export interface ShadowWorld {
  readonly peer: 'active' | 'cordoned' | 'gone';
  readonly item: WantedShadow | undefined;
  /** Whether everything that the consumer wants is known: an absence counts. */
  readonly complete: boolean;
  /** The consumer gave the namespace up. */
  readonly namespaceWithdrawn: boolean;
  /** The twin stands and isn't being deleted. */
  readonly twinReady: boolean;
  /** Undefined for a pod that needs no lease. */
  readonly fence?: FenceWorld | undefined;
  readonly shadow: ExistingShadow | undefined;
  readonly pod: ExistingPod | undefined;
}

export type ShadowPlan =
  | { readonly action: 'none' }
  /** Nothing of it is here and nobody asks: the published status goes. */
  | { readonly action: 'forget' }
  | { readonly action: 'publish-gone' }
  | { readonly action: 'refuse'; readonly reason: string; readonly message: string }
  | { readonly action: 'admit' }
  /** `graceSeconds` undefined: the pod's own. `because` tells an end from a healing. */
  | {
      readonly action: 'delete-pod';
      readonly uid: string;
      readonly graceSeconds: number | undefined;
      readonly because: 'ending' | 'healing' | 'fence';
    }
  | { readonly action: 'delete-shadow'; readonly uid: string }
  | { readonly action: 'create-pod' }
  /** The pod went without a word and must not run twice. */
  | { readonly action: 'fail'; readonly reason: string; readonly message: string }
  /** Bring labels up to date and tell the consumer what is. */
  | { readonly action: 'report' };

const TERMINAL = new Set(['Succeeded', 'Failed']);

/** Whether the pod's end is an accident after which a pod that always runs is made again. */
export const isAccident = (pod: Pick<ExistingPod, 'phase' | 'reason'>, restartPolicy: string): boolean =>
  restartPolicy === 'Always' && pod.phase === 'Failed' && pod.reason !== 'DeadlineExceeded';

/** Beyond the end of a peering no pod of it outlives this, whatever grace its consumer gave it. */
export const LAST_GRACE_SECONDS = 300;

const graceFor = (world: ShadowWorld, pod: ExistingPod): number | undefined => {
  // Not 0: that would take the object away while the containers still run.
  const asked =
    world.item?.deletionGraceSeconds === undefined ? undefined : Math.max(1, world.item.deletionGraceSeconds);
  const given = asked ?? pod.graceSeconds ?? pod.ownGraceSeconds ?? 0;
  return world.peer === 'gone' && given > LAST_GRACE_SECONDS ? LAST_GRACE_SECONDS : asked;
};

const planEnd = (world: ShadowWorld): ShadowPlan => {
  const { item, shadow, pod } = world;
  if (pod !== undefined) {
    const grace = graceFor(world, pod);
    const shorter = grace !== undefined && pod.graceSeconds !== undefined && grace < pod.graceSeconds;
    return pod.terminating && !shorter
      ? { action: 'report' }
      : { action: 'delete-pod', uid: pod.uid, graceSeconds: grace, because: 'ending' };
  }
  if (shadow !== undefined) {
    return shadow.terminating ? { action: 'report' } : { action: 'delete-shadow', uid: shadow.uid };
  }
  return item === undefined ? { action: 'forget' } : { action: 'publish-gone' };
};

const planAlive = (
  shadow: ExistingShadow,
  pod: ExistingPod | undefined,
  fence: FenceWorld | undefined,
): ShadowPlan => {
  if (shadow.terminating) return { action: 'report' };
  if (pod !== undefined) {
    // Of an earlier ShadowPod: the garbage collector takes it.
    if (pod.ownerUID !== shadow.uid) return { action: 'report' };
    return isAccident(pod, shadow.restartPolicy) && !pod.terminating
      ? { action: 'delete-pod', uid: pod.uid, graceSeconds: undefined, because: 'healing' }
      : { action: 'report' };
  }
  if (shadow.phase !== undefined && TERMINAL.has(shadow.phase)) return { action: 'report' };
  if (shadow.podUID !== undefined && shadow.restartPolicy !== 'Always') {
    return {
      action: 'fail',
      reason: 'PodLost',
      message: 'the pod was deleted at the peer before it had ended',
    };
  }
  // Without a live lease there may be another of it elsewhere.
  if (fence !== undefined && fence.state !== 'open') return { action: 'report' };
  return { action: 'create-pod' };
};

/** The lease has ended: it stops, and one that takes its time stops sooner. */
const planFence = (fence: FenceWorld | undefined, pod: ExistingPod | undefined): ShadowPlan | undefined => {
  if (fence?.state !== 'closed' || pod === undefined) return undefined;
  if (pod.phase !== undefined && TERMINAL.has(pod.phase)) return undefined;
  const { graceSeconds } = fence;
  if (pod.terminating && (pod.graceSeconds ?? 0) <= graceSeconds) return undefined;
  return { action: 'delete-pod', uid: pod.uid, graceSeconds, because: 'fence' };
};

/** The next step. */
export const planShadow = (world: ShadowWorld): ShadowPlan => {
  const { item, shadow, pod } = world;
  const stop = planFence(world.fence, pod);
  if (stop !== undefined) return stop;
  const unwanted = item === undefined && world.complete;
  const otherPod = item !== undefined && shadow !== undefined && item.uid !== shadow.homeUID;
  const ends =
    world.peer === 'gone' ||
    world.namespaceWithdrawn ||
    unwanted ||
    otherPod ||
    item?.deletionGraceSeconds !== undefined;
  if (ends) return planEnd(otherPod ? { ...world, item: undefined } : world);
  if (shadow !== undefined) return planAlive(shadow, pod, world.fence);
  if (item === undefined) return { action: 'none' };
  // A pod without its ShadowPod is on its way out.
  if (pod !== undefined || !world.twinReady) return { action: 'none' };
  return world.peer === 'cordoned'
    ? { action: 'refuse', reason: 'Cordoned', message: 'the peer accepts nothing new for now' }
    : { action: 'admit' };
};
