/** Home's side of the fence: answers the asks of its providers, and knows when another copy of a pod may start. */
import { fenceSpanMs, forgetPods, noteAnswer, takeOver, untilSafeMs } from '../../api/fence.ts';
import { FENCE_ANSWERS, FENCE_ASKS, FENCE_ID, type FenceAnswer } from '../../api/fence-collections.ts';
import type { Links, PeerLink } from '../../api/link.ts';
import { systemBootClock } from '../../runtime/boot-clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { isDeleting } from '../../runtime/kube/finalizers.ts';
import { keyOf, type Pod } from '../../runtime/kube/types.ts';
import type { Home } from './home.ts';
import { isHeld, type LossPolicy } from './plan-loss.ts';

export interface HomeFence {
  /** Milliseconds until no copy of the pod can run at its peer any more, if nothing is heard; 0: none can. */
  untilSafeMs(pod: Pod): number;
  /** The pod is let go: no answer lists it any more. To be called before its finalizer is taken away. */
  release(pod: Pod): void;
}

export interface HomeFenceOptions {
  readonly deps: ControllerDeps;
  readonly home: Home;
  readonly links: Links;
  readonly policy: () => LossPolicy;
  /** Whether the provider said that this pod runs no more. */
  readonly isToldOver: (link: PeerLink, pod: Pod) => boolean;
}

/** Changes of pods that come together are one answer. */
const GATHER_MS = 50;

/** Answers until `signal` aborts, and only while the leader's Lease is held. */
export const startHomeFence = (options: HomeFenceOptions, signal: AbortSignal): HomeFence => {
  const { deps, home, links, policy, isToldOver } = options;
  const bootMs = deps.bootClock ?? systemBootClock;
  const spanMs = (): number => fenceSpanMs(policy().leaseSeconds, policy().stopSeconds);
  let record = takeOver(bootMs(), spanMs());
  const released = new Set<string>();
  const lastSent = new Map<PeerLink, FenceAnswer>();
  const waiting = new Map<PeerLink, () => void>();

  const podsAt = (peer: string): readonly Pod[] =>
    home.virtualNodes
      .list()
      .filter((vn) => vn.spec.peer === peer)
      .flatMap((vn) => home.podsOn(vn.metadata.name))
      .filter(isHeld);

  /** The peering ends and the pod's grace is over: it is listed no more, so that the safe time comes. */
  const isGivenUp = (peer: string, pod: Pod): boolean => {
    const object = home.peers.get(undefined, peer);
    if (object !== undefined && !isDeleting(object)) return false;
    return Date.parse(pod.metadata.deletionTimestamp ?? '') < deps.clock.now().getTime();
  };

  const answer = (link: PeerLink): void => {
    const asks = link.follow(FENCE_ASKS).get(FENCE_ID)?.asks;
    // Over a link that is down nothing would be heard, and the safe time must not move: the peer asks anew on its return.
    if (asks === undefined || !link.isUp() || signal.aborted || deps.isLeading?.() === false) return;
    const pods = podsAt(link.peer)
      .filter((pod) => !released.has(pod.metadata.uid ?? ''))
      .filter((pod) => !isToldOver(link, pod) && !isGivenUp(link.peer, pod))
      .map((pod) => pod.metadata.uid ?? '')
      .sort();
    const next = { asks, leaseSeconds: policy().leaseSeconds, pods };
    const last = lastSent.get(link);
    if (equalJson(last, next)) return;
    // A lease counts from its ask, which is no newer when it is answered again: only pods that weren't listed then are noted.
    const isRepeated = last?.leaseSeconds === next.leaseSeconds && equalJson(last.asks, asks);
    const fresh = isRepeated ? pods.filter((uid) => !last.pods.includes(uid)) : pods;
    // First the note: what is sent may be believed from now on.
    record = noteAnswer(record, bootMs(), fresh, spanMs());
    lastSent.set(link, next);
    const answers = link.publish(FENCE_ANSWERS);
    answers.set(FENCE_ID, next);
    answers.markComplete();
  };
  const answerSoon = (link: PeerLink): void => {
    if (waiting.has(link) || link.signal.aborted) return;
    const cancel = deps.clock.after(GATHER_MS, () => {
      waiting.delete(link);
      answer(link);
    });
    waiting.set(link, cancel);
  };

  const stops = [
    links.onLink((link) => {
      const stop = link.follow(FENCE_ASKS).onChange(() => answer(link));
      link.signal.addEventListener(
        'abort',
        () => {
          stop();
          waiting.get(link)?.();
          waiting.delete(link);
          lastSent.delete(link);
        },
        { once: true },
      );
      answer(link);
    }),
    home.pods.onChange(({ type, object, old }) => {
      const gone = type === 'deleted' ? object : type === 'updated' ? old : undefined;
      const isGone = gone !== undefined && (type === 'deleted' || gone.metadata.uid !== object.metadata.uid);
      if (isGone && isHeld(gone)) {
        record = forgetPods(record, (uid) => uid !== gone.metadata.uid);
      }
      if (isGone) released.delete(gone.metadata.uid ?? '');
      if (
        type === 'updated' &&
        !isGone &&
        isHeld(object) === isHeld(old) &&
        object.spec.nodeName === old.spec.nodeName
      )
        return;
      const peer = home.virtualNodeOf(object)?.spec.peer;
      const link = peer === undefined ? undefined : links.get(peer);
      if (link !== undefined && (isHeld(object) || type === 'deleted')) answerSoon(link);
    }),
  ];
  signal.addEventListener(
    'abort',
    () => {
      for (const stop of stops) stop();
      for (const cancel of waiting.values()) cancel();
    },
    { once: true },
  );

  return {
    untilSafeMs: (pod) => untilSafeMs(record, pod.metadata.uid ?? '', bootMs()),
    release: (pod) => {
      released.add(pod.metadata.uid ?? '');
      deps.log.info('a fenced pod is let go', { controller: 'offloading.fence', key: keyOf(pod) });
    },
  };
};
