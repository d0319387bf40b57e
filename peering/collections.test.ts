import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { COLLECTIONS, OBJECTS, SHADOWS } from '../api/collections.ts';
import { FluviaError } from '../api/errors.ts';
import type { Collection } from '../api/link.ts';
import { createBudgets } from './budget.ts';
import { createFollower } from './follower.ts';
import { parseItem, parsePeerJson, weightOf } from './items.ts';
import { canonicalJson, createPublisher, type FollowSession } from './publisher.ts';

const VALUES: Collection<z.ZodObject<{ n: z.ZodNumber }>> = {
  name: 'values',
  schema: z.object({ n: z.number() }),
  maxItems: 5,
  maxItemBytes: 100,
  maxBytes: 100_000,
};
interface Value {
  readonly n: number;
}

const drain = (
  session: FollowSession,
  follower: ReturnType<typeof createFollower<typeof VALUES.schema>>,
): number => {
  let count = 0;
  for (let event = session.next(); event !== undefined; event = session.next()) {
    follower.apply(event);
    count += 1;
  }
  return count;
};

type Step =
  | { readonly do: 'set'; readonly id: string; readonly n: number }
  | { readonly do: 'delete'; readonly id: string }
  | { readonly do: 'complete' | 'break' | 'restartPublisher' | 'restartFollower' }
  | { readonly do: 'take'; readonly count: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('set' as const),
      id: fc.constantFrom('a', 'b', 'c', '__proto__'),
      n: fc.nat(2),
    }),
    fc.record({ do: fc.constant('delete' as const), id: fc.constantFrom('a', 'b', 'c', '__proto__') }),
    fc.record({
      do: fc.constantFrom(
        'complete' as const,
        'break' as const,
        'restartPublisher' as const,
        'restartFollower' as const,
      ),
    }),
    fc.record({ do: fc.constant('take' as const), count: fc.nat(4) }),
  ),
  { maxLength: 60 },
);

describe('publisher and follower', () => {
  it(
    'converge after any breaks, restarts and changes, and lose nothing before `complete` (model)',
    { timeout: 60_000 },
    () => {
      fc.assert(
        fc.property(steps, (script) => {
          const world = new Map<string, number>();
          let publisher = createPublisher<Value>(VALUES);
          let follower = createFollower(VALUES, () => {});
          let session = publisher.session(follower.have());
          let complete = false;
          const applied: string[] = [];
          const lost: string[] = [];
          const listen = (): void => void follower.onChange((id) => id !== undefined && applied.push(id));
          listen();
          for (const step of script) {
            if (step.do === 'set') {
              world.set(step.id, step.n);
              publisher.set(step.id, { n: step.n });
            } else if (step.do === 'delete') {
              world.delete(step.id);
              publisher.delete(step.id);
            } else if (step.do === 'take') {
              const before = new Map(follower.entries());
              for (let i = 0; i < step.count; i += 1) {
                const event = session.next();
                if (event !== undefined) follower.apply(event);
              }
              if (!complete) lost.push(...[...before.keys()].filter((id) => follower.get(id) === undefined));
            } else if (step.do === 'complete') {
              complete = true;
              publisher.markComplete();
            } else {
              session.close();
              if (step.do === 'restartPublisher') {
                publisher = createPublisher<Value>(VALUES);
                complete = false;
                for (const [id, n] of world) publisher.set(id, { n });
              }
              if (step.do === 'restartFollower') {
                follower = createFollower(VALUES, () => {});
                listen();
              }
              session = publisher.session(follower.have());
            }
          }
          publisher.markComplete();
          drain(session, follower);
          expect(lost).toEqual([]);
          expect(new Map([...follower.entries()].map(([id, item]) => [id, item.n]))).toEqual(world);
          expect(follower.isComplete()).toBe(true);
          // Nothing is applied twice: a resume of what is equal sends only that it is complete.
          applied.length = 0;
          session.close();
          expect(drain(publisher.session(follower.have()), follower)).toBe(1);
          expect(applied).toEqual([]);
        }),
        { numRuns: 300 },
      );
    },
  );

  it('coalesces changes that come faster than they are taken', () => {
    const publisher = createPublisher<Value>(VALUES);
    const follower = createFollower(VALUES, () => {});
    const session = publisher.session(follower.have());
    for (let n = 0; n < 1000; n += 1) publisher.set('a', { n });
    expect(drain(session, follower)).toBe(1);
    expect(follower.get('a')).toEqual({ n: 999 });
  });

  it('refuses at the publisher what does not fit', () => {
    const publisher = createPublisher<Value>(VALUES);
    for (const id of ['a', 'b', 'c', 'd', 'e']) publisher.set(id, { n: 1 });
    expect(() => publisher.set('f', { n: 1 })).toThrow(FluviaError);
    expect(() => publisher.set('a', { n: 1, more: 'x'.repeat(200) } as Value)).toThrow(/bytes/);
    expect(() => publisher.set('', { n: 1 })).toThrow(FluviaError);
    publisher.set('a', { n: 2 });
  });

  it('ends the session of a peer that publishes too much', () => {
    const follower = createFollower(VALUES, () => {});
    const set = (id: string) => ({ set: { id, hash: Buffer.alloc(16), json: Buffer.from('{"n":1}') } });
    for (const id of ['a', 'b', 'c', 'd', 'e']) follower.apply(set(id));
    expect(() => follower.apply(set('f'))).toThrow(/more than 5 values/);
  });

  it('counts what was taken away before `complete`, since until then its objects stay', () => {
    const follower = createFollower(VALUES, () => {});
    const set = (id: string) => ({ set: { id, hash: Buffer.alloc(16), json: Buffer.from('{"n":1}') } });
    const flood = (): number => {
      for (let n = 0; n < 10_000; n += 1) {
        try {
          follower.apply(set(`n${n}`));
        } catch (error) {
          if (error instanceof FluviaError && error.code === 'FLUVIA_ERR_QUOTA_EXCEEDED') return n;
          throw error;
        }
        follower.apply({ delete: `n${n}` });
      }
      return Infinity;
    };
    // A little more than five: an honest publisher's items come and go while it tells them for the first time.
    expect(flood()).toBe(5 + 100);
    // What is known already goes on, and who says that it told all is counted by what is there.
    follower.apply(set('n7'));
    follower.apply({ complete: true });
    expect([...follower.entries().keys()]).toEqual(['n7']);
    expect(flood()).toBe(Infinity);
  });

  it('tells deletions first, so that what comes in their stead has room at a full follower', () => {
    const publisher = createPublisher<Value>(VALUES);
    const follower = createFollower(VALUES, () => {});
    for (const id of ['a', 'b', 'c', 'd', 'e']) publisher.set(id, { n: 1 });
    publisher.markComplete();
    drain(publisher.session(follower.have()), follower);
    for (const id of ['a', 'b', 'c', 'd', 'e']) {
      publisher.delete(id);
      publisher.set(`${id}2`, { n: 2 });
    }
    expect(drain(publisher.session(follower.have()), follower)).toBe(11);
  });

  it('keeps no long hash, id or text of what it refuses', () => {
    const follower = createFollower(VALUES, () => {});
    const long = 'x'.repeat(1_000_000);
    follower.apply({ set: { id: 'a', hash: Buffer.alloc(1_000_000), json: Buffer.from('{"n":1}') } });
    follower.apply({ set: { id: long, hash: Buffer.alloc(16), json: Buffer.from('{"n":1}') } });
    expect(follower.have().get('a')).toHaveLength(128);
    expect(follower.have().has(long)).toBe(false);
    for (const [id, message] of follower.problems()) {
      expect(id.length).toBeLessThan(300);
      expect(message.length).toBeLessThan(1500);
    }
  });

  it('bounds the memory of all items at both ends, and gives back what goes', () => {
    const small: typeof VALUES = { ...VALUES, maxItems: 1000, maxBytes: 4000 };
    const publisher = createPublisher<Value>(small);
    const budget = createBudgets().link();
    const follower = createFollower(small, () => {}, budget);
    const json = Buffer.from('{"n":1}');
    const set = (id: string) => ({ set: { id, hash: Buffer.alloc(16), json } });
    const ids = Array.from({ length: 11 }, (_, n) => `item-${n}`);
    for (const id of ids) {
      publisher.set(id, { n: 1 });
      follower.apply(set(id));
    }
    expect(() => publisher.set('more', { n: 1 })).toThrow(
      /0 MiB of values are the most that cross a peering/,
    );
    expect(() => follower.apply(set('more'))).toThrow(/publishes more than 0 MiB of values/);
    expect(follower.get('more')).toBeUndefined();
    // What is there can still change and go.
    publisher.set('item-1', { n: 2 });
    follower.apply(set('item-1'));
    follower.apply({ complete: true });
    for (const id of ids) {
      publisher.delete(id);
      follower.apply({ delete: id });
    }
    expect(budget.held()).toBe(0);
    publisher.set('more', { n: 1 });
    follower.apply(set('more'));
  });

  it('counts the last valid version as long as it is held, whatever is sent after it', () => {
    const budget = createBudgets().link();
    const follower = createFollower({ ...VALUES, maxItemBytes: 1000 }, () => {}, budget);
    const set = (json: string) =>
      follower.apply({ set: { id: 'a', hash: Buffer.from(json.slice(0, 9)), json: Buffer.from(json) } });
    set(`{"n":1,"more":"${'x'.repeat(500)}"}`);
    const held = budget.held();
    for (const refused of ['{"n":""}', '{', 'x'.repeat(2000)]) {
      set(refused);
      expect(follower.get('a')).toEqual({ n: 1 });
      expect(budget.held()).toBeGreaterThanOrEqual(held);
    }
    set('{"n":2}');
    expect(budget.held()).toBeLessThan(held);
  });

  it('counts what JSON becomes when parsed', () => {
    const text = (inner: string): Buffer => Buffer.from(`{"a":[${Array(1000).fill(inner).join(',')}]}`);
    expect(weightOf('x', text('{}'))).toBeGreaterThan(16 * text('{}').length);
    expect(weightOf('x', Buffer.from(`"${'{[,'.repeat(1000)}"`))).toBeLessThan(4000);
  });

  it('keeps the last valid version of an item and says what is wrong with the next', () => {
    const follower = createFollower(VALUES, () => {});
    const set = (json: string) =>
      follower.apply({ set: { id: 'a', hash: Buffer.from(json), json: Buffer.from(json) } });
    set('{"n":1}');
    set('{"n":"x"}');
    expect(follower.get('a')).toEqual({ n: 1 });
    expect([...follower.problems().values()].join()).toMatch(/values a: n: /);
    set('{"n":2}');
    expect(follower.problems().size).toBe(0);
  });

  it('goes on when a listener throws', () => {
    const errors: unknown[] = [];
    const follower = createFollower(VALUES, (error) => errors.push(error));
    const seen: (string | undefined)[] = [];
    follower.onChange(() => {
      throw new Error('listener');
    });
    follower.onChange((id) => seen.push(id));
    follower.apply({ set: { id: 'a', hash: Buffer.alloc(1), json: Buffer.from('{"n":1}') } });
    follower.apply({ complete: true });
    expect(seen).toEqual(['a', undefined]);
    expect(errors).toHaveLength(2);
  });
});

describe('items of a peer', () => {
  it('gives equal items equal text', () => {
    expect(canonicalJson({ b: 1, a: { d: [{ y: 1, x: 2 }], c: undefined } })).toBe(
      '{"a":{"d":[{"x":2,"y":1}]},"b":1}',
    );
  });

  it('lets no __proto__ through, however it is written', () => {
    for (const text of ['{"a":{"__proto__":{"x":1}}}', '{"a":{"\\u005f_proto__":{"x":1}}}']) {
      const parsed = parsePeerJson(Buffer.from(text)) as { a: object };
      expect(Object.hasOwn(parsed.a, '__proto__')).toBe(false);
      expect((parsed.a as { x?: number }).x).toBeUndefined();
    }
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it('refuses deep nesting, broken UTF-8 and what is not JSON', () => {
    expect(() => parsePeerJson(Buffer.from('['.repeat(100_000)))).toThrow(FluviaError);
    expect(() => parsePeerJson(Buffer.from('"\\"[[[["'))).not.toThrow();
    expect(() => parsePeerJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow(FluviaError);
    expect(() => parsePeerJson(Buffer.from('{'))).toThrow(FluviaError);
  });

  it('throws nothing but FluviaErrors of a bounded, printable message', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...COLLECTIONS),
        fc.string({ unit: 'binary' }),
        fc.oneof(
          fc.json({ maxDepth: 6 }).map((j) => Buffer.from(j)),
          fc.uint8Array().map((b) => Buffer.from(b)),
        ),
        (collection, id, json) => {
          const outcome = (): string => {
            try {
              parseItem(collection as Collection, id, json);
              return 'accepted';
            } catch (error) {
              return error instanceof FluviaError &&
                error.message.length < 1500 &&
                !/\p{Cc}/u.test(error.message)
                ? 'refused'
                : `wrong: ${String(error)}`;
            }
          };
          expect(['accepted', 'refused']).toContain(outcome());
        },
      ),
      { numRuns: 150 },
    );
  });

  it('takes real items and drops fields it doesn’t know', () => {
    const shadow = {
      uid: 'u',
      node: 'fluvia-east',
      claim: 'east',
      labels: {},
      annotations: {},
      spec: { containers: [] },
      future: 1,
    };
    expect(parseItem(SHADOWS, 'shop/web', Buffer.from(JSON.stringify(shadow)))).not.toHaveProperty('future');
    expect(() => parseItem(OBJECTS, 'x', Buffer.from('{"kind":"Node"}'))).toThrow(/objects x/);
    expect(() => parseItem(VALUES, 'x', Buffer.from(`{"n":1,"s":"${'x'.repeat(200)}"}`))).toThrow(/bytes/);
  });
});
