import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  adoptLeases,
  fenceSpanMs,
  hearAnswer,
  isLeased,
  leasesLeft,
  noLease,
  noteAnswer,
  noteAsk,
  takeOver,
  untilSafeMs,
  type AnswerRecord,
  type LeaseAnswer,
  type LeaseState,
} from './fence.ts';

const L = 20;
const S = 15;
const SPAN = fenceSpanMs(L, S);

describe('a lease', () => {
  it('counts from the ask, not from the answer', () => {
    const asked = noteAsk(noLease(7), 1000);
    const state = hearAnswer(asked, { ask: 8, leaseSeconds: L, pods: ['a'] });
    expect(isLeased(state, 'a', 20_900)).toBe(true);
    expect(isLeased(state, 'a', 21_000)).toBe(false);
    expect(isLeased(state, 'b', 1001)).toBe(false);
  });

  it('ignores an answer to an ask of somebody else', () => {
    const state = hearAnswer(noteAsk(noLease(7), 1000), { ask: 7, leaseSeconds: L, pods: ['a'] });
    expect(isLeased(state, 'a', 1001)).toBe(false);
  });

  it('ends for a pod that is listed no more', () => {
    const held = hearAnswer(noteAsk(noLease(0), 0), { ask: 1, leaseSeconds: L, pods: ['a', 'b'] });
    const next = hearAnswer(noteAsk(held, 5000), { ask: 2, leaseSeconds: L, pods: ['b'] });
    expect([isLeased(next, 'a', 5001), isLeased(next, 'b', 5001)]).toEqual([false, true]);
  });

  it('can be taken over with what is left of it', () => {
    const held = hearAnswer(noteAsk(noLease(0), 0), { ask: 1, leaseSeconds: L, pods: ['a'] });
    const other = adoptLeases(noLease(9), 500, leasesLeft(held, 15_000));
    expect([isLeased(other, 'a', 5000), isLeased(other, 'a', 5600)]).toEqual([true, false]);
  });
});

describe('safe time', () => {
  it('is 1.01 L + S after the last answer that listed the pod, or after the take-over', () => {
    const record = noteAnswer(takeOver(0, SPAN), 100_000, ['a'], SPAN);
    expect(untilSafeMs(record, 'a', 100_000)).toBe(35_200);
    expect(untilSafeMs(record, 'b', 100_000)).toBe(0);
    expect(untilSafeMs(record, 'b', 30_000)).toBe(5200);
  });
});

/**
 * One ordinal, home, and a provider with a leader and an agent, on three clocks that each run up to 1 % fast or slow and
 * begin anywhere. Messages are lost, late and out of order; any leader, and the agent, may begin anew at any time. A pod
 * runs at the provider until S after the lease's end, which is the worst that is allowed there; home starts another as soon
 * as the safe time lets it.
 */
interface World {
  now: number;
  home: AnswerRecord;
  uid: number;
  enforcers: [LeaseState, LeaseState];
  /** In real time: until when a pod of the provider may still be stopping. UID → time. */
  runsUntil: Map<string, number>;
  asks: { readonly from: 0 | 1; readonly ask: number }[];
  answers: { readonly to: 0 | 1; readonly answer: LeaseAnswer }[];
  terms: number;
  /** Asks that this term of home has answered, by pod. */
  answered: Set<string>;
}

type Step =
  | { readonly do: 'ask'; readonly from: 0 | 1 }
  | { readonly do: 'answer' | 'hear' | 'lose-ask' | 'lose-answer'; readonly index: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'restart'; readonly what: 'home' | 0 | 1 }
  | { readonly do: 'adopt' }
  | { readonly do: 'try-to-start' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('ask' as const), from: fc.constantFrom(0 as const, 1 as const) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const), index: fc.nat(9) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hear' as const), index: fc.nat(9) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom('lose-ask' as const, 'lose-answer' as const),
      index: fc.nat(9),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.oneof(fc.nat(9000), fc.nat(60_000)) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('restart' as const),
      what: fc.constantFrom('home' as const, 0 as const, 1 as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'adopt' as const }) },
  { weight: 5, arbitrary: fc.constant({ do: 'try-to-start' as const }) },
);

const rate = fc.double({ min: 0.995, max: 1.005, noNaN: true });
const offset = fc.nat(10_000_000);

describe('the fence', () => {
  it('never lets two copies run, whatever clocks, messages and restarts do', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.tuple(rate, rate, rate),
        fc.tuple(offset, offset, offset),
        (steps, rates, offsets) => {
          const w: World = {
            now: 0,
            home: takeOver(0, 0),
            uid: 0,
            enforcers: [noLease(0), noLease(0)],
            runsUntil: new Map(),
            asks: [],
            answers: [],
            terms: 0,
            answered: new Set(),
          };
          const clock = (index: 0 | 1 | 2): number => w.now * rates[index] + offsets[index];
          w.home = takeOver(clock(2), SPAN);
          const pod = (): string => `pod-${w.uid}`;
          /** What the enforcers let run now, they let run until the lease ends by their clock, and S longer. */
          const enforce = (): void => {
            for (const index of [0, 1] as const) {
              const state = w.enforcers[index];
              for (const [uid, left] of leasesLeft(state, clock(index))) {
                const end = w.now + left / rates[index] + S * 1000;
                w.runsUntil.set(uid, Math.max(w.runsUntil.get(uid) ?? 0, end));
              }
            }
          };
          for (const one of steps) {
            switch (one.do) {
              case 'ask': {
                const next = noteAsk(w.enforcers[one.from], clock(one.from));
                w.enforcers[one.from] = next;
                w.asks.push({ from: one.from, ask: next.ask });
                break;
              }
              case 'answer': {
                const ask = w.asks[one.index % Math.max(1, w.asks.length)];
                if (ask === undefined) break;
                // As home does it: an ask that it has answered for this pod already makes the lease no longer.
                const key = `${ask.from} ${ask.ask} ${pod()}`;
                if (!w.answered.has(key)) w.home = noteAnswer(w.home, clock(2), [pod()], SPAN);
                w.answered.add(key);
                w.answers.push({ to: ask.from, answer: { ask: ask.ask, leaseSeconds: L, pods: [pod()] } });
                break;
              }
              case 'hear': {
                const found = w.answers[one.index % Math.max(1, w.answers.length)];
                if (found === undefined) break;
                w.enforcers[found.to] = hearAnswer(w.enforcers[found.to], found.answer);
                break;
              }
              case 'lose-ask':
                w.asks.splice(one.index, 1);
                break;
              case 'lose-answer':
                w.answers.splice(one.index, 1);
                break;
              case 'wait':
                w.now += one.ms;
                break;
              case 'restart':
                w.terms += 1;
                if (one.what === 'home') {
                  w.home = takeOver(clock(2), SPAN);
                  w.answered.clear();
                }
                if (one.what !== 'home') w.enforcers[one.what] = noLease(w.terms * 1_000_000);
                break;
              case 'adopt':
                w.enforcers[0] = adoptLeases(w.enforcers[0], clock(0), leasesLeft(w.enforcers[1], clock(1)));
                break;
              case 'try-to-start':
                if (untilSafeMs(w.home, pod(), clock(2)) > 0) break;
                // Another copy of the ordinal starts elsewhere: no older one may run, now or later.
                w.uid += 1;
                break;
            }
            enforce();
            for (const [uid, end] of w.runsUntil) {
              if (uid !== pod() && end > w.now) {
                throw new Error(`${uid} may run for ${end - w.now} ms beside ${pod()}`);
              }
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('gives a pod its lease again once messages pass', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(1_000_000), (start, now) => {
        const before = hearAnswer(noteAsk(noLease(start), 0), {
          ask: start + 1,
          leaseSeconds: L,
          pods: ['a'],
        });
        const asked = noteAsk(before, now);
        const after = hearAnswer(asked, { ask: asked.ask, leaseSeconds: L, pods: ['a'] });
        return isLeased(after, 'a', now + 1);
      }),
    );
  });
});
