import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  LAST_GRACE_SECONDS,
  planShadow,
  type ExistingPod,
  type ExistingShadow,
  type ShadowPlan,
  type ShadowWorld,
} from './plan-shadow.ts';

const shadow = (more: Partial<ExistingShadow> = {}): ExistingShadow => ({
  uid: 's1',
  homeUID: 'h1',
  terminating: false,
  restartPolicy: 'Always',
  phase: 'Running',
  podUID: 'p1',
  ...more,
});
const pod = (more: Partial<ExistingPod> = {}): ExistingPod => ({
  uid: 'p1',
  ownerUID: 's1',
  phase: 'Running',
  reason: undefined,
  terminating: false,
  graceSeconds: undefined,
  ...more,
});
const world = (more: Partial<ShadowWorld> = {}): ShadowWorld => ({
  peer: 'active',
  item: { uid: 'h1' },
  complete: true,
  namespaceWithdrawn: false,
  twinReady: true,
  shadow: shadow(),
  pod: pod(),
  ...more,
});
const none = { shadow: undefined, pod: undefined } as const;

describe('planShadow', () => {
  it.each<[string, Partial<ShadowWorld>, Partial<ShadowPlan>]>([
    ['admits a new pod', none, { action: 'admit' }],
    ['waits for the twin', { ...none, twinReady: false }, { action: 'none' }],
    ['waits for the remains of an earlier pod', { shadow: undefined }, { action: 'none' }],
    ['accepts nothing new from a cordoned peer', { ...none, peer: 'cordoned' }, { action: 'refuse' }],
    ['keeps what runs of a cordoned peer', { peer: 'cordoned' }, { action: 'report' }],
    [
      'makes the pod of an accepted shadow',
      { shadow: shadow({ podUID: undefined, phase: undefined }), pod: undefined },
      { action: 'create-pod' },
    ],
    ['makes it again when it vanished', { pod: undefined }, { action: 'create-pod' }],
    [
      'keeps it alive while nothing is known of home',
      { item: undefined, complete: false, pod: undefined },
      { action: 'create-pod' },
    ],
    [
      'gives a pod that would outlive its peering five minutes',
      { peer: 'gone', pod: pod({ ownGraceSeconds: 2 ** 31 - 1 }) },
      { action: 'delete-pod', graceSeconds: LAST_GRACE_SECONDS, because: 'ending' },
    ],
    [
      'shortens a long end that was under way when the peering ended',
      { peer: 'gone', item: undefined, pod: pod({ terminating: true, graceSeconds: 86_400 }) },
      { action: 'delete-pod', graceSeconds: LAST_GRACE_SECONDS },
    ],
    [
      'leaves a pod its own short end when the peering ends',
      { peer: 'gone', pod: pod({ ownGraceSeconds: 30 }) },
      { action: 'delete-pod', graceSeconds: undefined },
    ],
    [
      'clears an evicted pod away',
      { pod: pod({ phase: 'Failed', reason: 'Evicted' }) },
      { action: 'delete-pod', because: 'healing', graceSeconds: undefined },
    ],
    [
      'waits while the evicted pod goes',
      { pod: pod({ phase: 'Failed', terminating: true }) },
      { action: 'report' },
    ],
    [
      'takes a deadline for an end',
      { pod: pod({ phase: 'Failed', reason: 'DeadlineExceeded' }) },
      { action: 'report' },
    ],
    [
      'does not run a job twice',
      { shadow: shadow({ restartPolicy: 'Never' }), pod: undefined },
      { action: 'fail', reason: 'PodLost' },
    ],
    [
      'runs a job whose pod was never seen',
      { shadow: shadow({ restartPolicy: 'Never', podUID: undefined }), pod: undefined },
      { action: 'create-pod' },
    ],
    [
      'reports an end again and again',
      { shadow: shadow({ phase: 'Succeeded', restartPolicy: 'Never' }), pod: undefined },
      { action: 'report' },
    ],
    [
      'never restarts what has ended, not even when it always restarts',
      { shadow: shadow({ phase: 'Failed' }), pod: undefined },
      { action: 'report' },
    ],
    [
      'ends with the grace that home gives',
      { item: { uid: 'h1', deletionGraceSeconds: 7 } },
      { action: 'delete-pod', graceSeconds: 7, because: 'ending' },
    ],
    [
      'lets containers end even when home forces',
      { item: { uid: 'h1', deletionGraceSeconds: 0 } },
      { action: 'delete-pod', graceSeconds: 1 },
    ],
    [
      'shortens a grace that runs',
      { item: { uid: 'h1', deletionGraceSeconds: 5 }, pod: pod({ terminating: true, graceSeconds: 30 }) },
      { action: 'delete-pod', graceSeconds: 5 },
    ],
    [
      'lets a grace that runs pass',
      { item: { uid: 'h1', deletionGraceSeconds: 30 }, pod: pod({ terminating: true, graceSeconds: 30 }) },
      { action: 'report' },
    ],
    [
      'never makes a pod again that is being deleted',
      { item: { uid: 'h1', deletionGraceSeconds: 30 }, pod: undefined },
      { action: 'delete-shadow', uid: 's1' },
    ],
    [
      'says when it is gone',
      { item: { uid: 'h1', deletionGraceSeconds: 30 }, ...none },
      { action: 'publish-gone' },
    ],
    ['forgets what nobody asks for', { item: undefined, ...none }, { action: 'forget' }],
    [
      'ends what is withdrawn, with its own grace',
      { item: undefined },
      { action: 'delete-pod', graceSeconds: undefined, because: 'ending' },
    ],
    ['ends the pod of another life of the same name', { item: { uid: 'h2' } }, { action: 'delete-pod' }],
    ['ends all of a peer that is gone', { peer: 'gone' }, { action: 'delete-pod' }],
    [
      'ends all of a namespace that was given up',
      { namespaceWithdrawn: true, pod: undefined },
      { action: 'delete-shadow' },
    ],
  ])('%s', (_, more, plan) => {
    expect(planShadow(world(more))).toMatchObject(plan);
  });

  /** A model of the cluster: carries out what is planned, between accidents. */
  it('converges after any accidents, and never runs a pod twice that must not', () => {
    const accident = fc.constantFrom('vanish', 'evict', 'finish', 'restart', 'delete-shadow' as const);
    const policies = fc.constantFrom('Always', 'OnFailure', 'Never');
    fc.assert(
      fc.property(
        policies,
        fc.array(accident, { maxLength: 12 }),
        fc.boolean(),
        (restartPolicy, accidents, ends) => {
          let state: ShadowWorld = world({
            shadow: shadow({ restartPolicy, phase: undefined, podUID: undefined }),
            pod: undefined,
          });
          let pods = 0;
          let ran = 0;
          const step = (): string => {
            const plan = planShadow(state);
            const { shadow: current } = state;
            if (plan.action === 'create-pod') {
              pods += 1;
              ran += 1;
              state = { ...state, pod: pod({ uid: `p${pods}`, ownerUID: current?.uid }) };
            } else if (plan.action === 'delete-pod') {
              state = { ...state, pod: undefined };
            } else if (plan.action === 'delete-shadow') {
              state = { ...state, shadow: undefined };
            } else if (plan.action === 'fail' && current !== undefined) {
              state = { ...state, shadow: { ...current, phase: 'Failed' } };
            } else if (plan.action === 'report' && current !== undefined && state.pod !== undefined) {
              const ended = state.pod.phase === 'Succeeded' || state.pod.phase === 'Failed';
              state = {
                ...state,
                shadow: { ...current, podUID: state.pod.uid, phase: ended ? state.pod.phase : 'Running' },
              };
            }
            return plan.action;
          };
          const settle = (): void => {
            for (let i = 0; i < 6; i += 1) step();
          };
          settle();
          for (const one of accidents) {
            if (one === 'vanish') state = { ...state, pod: undefined };
            else if (one === 'evict' && state.pod?.phase === 'Running')
              state = { ...state, pod: { ...state.pod, phase: 'Failed', reason: 'Evicted' } };
            else if (one === 'finish' && state.pod?.phase === 'Running' && restartPolicy !== 'Always')
              state = { ...state, pod: { ...state.pod, phase: 'Succeeded' } };
            settle();
          }
          if (ends) {
            state = { ...state, item: { uid: 'h1', deletionGraceSeconds: 1 } };
            settle();
          }
          const always = restartPolicy === 'Always';
          expect(always || ran === 1).toBe(true);
          expect(!ends || planShadow(state).action === 'publish-gone').toBe(true);
          expect(ends || !always || state.pod?.phase === 'Running').toBe(true);
        },
      ),
    );
  });
});
