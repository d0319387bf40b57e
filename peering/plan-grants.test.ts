import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseQuantity, type ResourceList } from '../api/quantity.ts';
import type { Grant } from '../api/v1alpha1/grant.ts';
import { grantName, type GrantRules, type NodeRoom } from './plan-grant.ts';
import { planGrants, type GrantsPlan, type GrantsWorld } from './plan-grants.ts';

const node = (allocatable: Record<string, string>, labels: Record<string, string> = {}): NodeRoom => ({
  allocatable,
  labels: { 'kubernetes.io/arch': 'amd64', 'kubernetes.io/os': 'linux', ...labels },
  kubeletVersion: 'v1.37.2',
});
const rules: GrantRules = { sharePercent: 80, maximum: undefined, zone: undefined, region: undefined };

const world = (
  claims: Record<string, ResourceList | undefined>,
  more: Partial<GrantsWorld> = {},
): GrantsWorld => ({
  peer: 'home',
  claims: new Map(Object.entries(claims)),
  isComplete: true,
  grants: [],
  nodes: [node({ cpu: '10', memory: '10Gi', pods: '100' })],
  rules: { ...rules, sharePercent: 100 },
  ...more,
});

const planOne = (asked: ResourceList | undefined, nodes: readonly NodeRoom[], its: GrantRules) => {
  const { give } = planGrants(world({ east: asked }, { nodes, rules: its }));
  return give.get('east')!;
};

const grant = (
  claim: string,
  resources: ResourceList,
  used?: ResourceList,
  more: Partial<Grant['spec']> & { readonly at?: string } = {},
): Grant => {
  const { at, ...spec } = more;
  return {
    apiVersion: 'fluvia.dev/v1alpha1',
    kind: 'Grant',
    metadata: {
      name: grantName('home', claim),
      ...(at === undefined ? {} : { creationTimestamp: at }),
    },
    spec: { peer: 'home', claim, resources, ...spec },
    ...(used === undefined ? {} : { status: { used } }),
  };
};

/** The Grants after the plan was carried out; pods use what they did. */
const apply = (before: readonly Grant[], plan: GrantsPlan, at: string): Grant[] => {
  const others = before.filter((one) => !plan.remove.includes(one));
  const kept = others.map((one) => {
    const given = plan.give.get(one.spec.claim);
    const held = plan.hold.get(one);
    const spec = { peer: 'home', claim: one.spec.claim, peerMaximum: plan.peerMaximum };
    if (given !== undefined) return { ...one, spec: { ...spec, resources: given.resources } };
    if (held !== undefined) return { ...one, spec: { ...spec, resources: held, withdrawn: true } };
    return one;
  });
  const fresh = [...plan.give]
    .filter(([claim]) => !before.some(({ spec }) => spec.claim === claim))
    .map(([claim, { resources }]) => grant(claim, resources, undefined, { at }));
  return [...kept, ...fresh];
};

describe('planGrants for one claim', () => {
  const nodes = [
    node(
      { cpu: '4', memory: '8Gi', pods: '110', 'nvidia.com/gpu': '2', 'hugepages-2Mi': '0' },
      { 'topology.kubernetes.io/zone': 'z1' },
    ),
    node(
      { cpu: '3920m', memory: '7948072Ki', pods: '110' },
      { 'kubernetes.io/arch': 'arm64', 'topology.kubernetes.io/zone': 'z2' },
    ),
  ];

  it('gives a share of what all real nodes have, rounded down', () => {
    const { resources, terms } = planOne(undefined, nodes, rules);
    expect(resources).toEqual({ cpu: '6330m', memory: '12763Mi', 'nvidia.com/gpu': '1', pods: '176' });
    expect(terms).toEqual({
      architectures: ['amd64', 'arm64'],
      operatingSystems: ['linux'],
      kubeletVersion: 'v1.37.2',
    });
  });

  it('gives what is asked up to the maximum', () => {
    const asked = { cpu: '2', memory: '100Gi', 'example.com/none': '5' };
    const { resources } = planOne(asked, nodes, { ...rules, maximum: { memory: '4Gi', pods: '10' } });
    expect(resources).toMatchObject({ cpu: '2', memory: '4Gi', pods: '10' });
    expect(resources).not.toHaveProperty(['example.com/none']);
  });

  it('gives nothing where there is nothing', () => {
    expect(planOne({ cpu: '1' }, [], rules).resources).toEqual({});
  });

  it('never gives more than asked, than the maximum, or than there is', () => {
    const quantity = fc.integer({ min: 0, max: 64_000 }).map((m) => `${m}m`);
    fc.assert(
      fc.property(
        fc.array(quantity, { maxLength: 5 }),
        fc.option(quantity),
        fc.option(quantity),
        fc.integer({ min: 1, max: 100 }),
        (cpus, ask, max, sharePercent) => {
          const plan = planOne(
            ask === null ? undefined : { cpu: ask },
            cpus.map((cpu) => node({ cpu })),
            {
              ...rules,
              sharePercent,
              maximum: max === null ? undefined : { cpu: max },
            },
          );
          const given = parseQuantity(plan.resources['cpu'] ?? '0');
          const limits = [
            cpus.reduce((sum, cpu) => sum + parseQuantity(cpu), 0),
            ...[ask, max].filter((v) => v !== null).map(parseQuantity),
          ];
          expect(given).toBeLessThanOrEqual(Math.min(...limits) + 1e-6);
        },
      ),
    );
  });
});

describe('planGrants for several claims of one peer', () => {
  const names = Array.from({ length: 20 }, (_, n) => `c${String(n + 1).padStart(2, '0')}`);
  const cpuOf = (plan: GrantsPlan, claim: string): string | undefined =>
    plan.give.get(claim)?.resources['cpu'];

  it('gives the peer’s maximum once, however many claims there are', () => {
    const asked = Object.fromEntries(names.slice(0, 16).map((name) => [name, undefined]));
    const plan = planGrants(world(asked));
    expect([...plan.give.keys()]).toEqual(['c01']);
    expect(plan.peerMaximum).toEqual({ cpu: '10', memory: '10Gi', pods: '100' });
    expect(plan.refuse.get('c02')).toEqual({
      reason: 'Insufficient',
      message:
        'All claims of this peer get cpu 10, memory 10Gi, pods 100 together; left for this one: cpu 0, memory 0, pods 0. ' +
        'Let the others ask for less: c01.',
    });
  });

  it('gives amounts that are named before those that are left to the provider, and the older first', () => {
    const grants = [grant('any', { cpu: '10' }, { cpu: '2' }, { at: '2026-01-01T00:00:00Z' })];
    const few = { memory: '1Gi', pods: '10' };
    const plan = planGrants(
      world({ any: undefined, b: { cpu: '5', ...few }, a: { cpu: '5', ...few } }, { grants }),
    );
    expect(['a', 'b', 'any'].map((claim) => cpuOf(plan, claim))).toEqual(['5', '3', '2']);
    expect(plan.give.get('b')?.message).toBe(
      'All claims of this peer get cpu 10 together; left for this one: cpu 3. Let the others ask for less: a, any.',
    );
    expect(plan.give.get('a')?.message).toBe('The provider gives this.');
  });

  it('keeps what pods of a withdrawn claim hold until they have gone, then the Grant goes', () => {
    const c1 = grant('c1', { cpu: '10', memory: '10Gi' }, { cpu: '7', memory: '0', pods: '3' });
    const plan = planGrants(world({ c17: undefined }, { grants: [c1] }));
    expect(cpuOf(plan, 'c17')).toBe('3');
    expect([...plan.hold]).toEqual([[c1, { cpu: '7', memory: '0', pods: '3' }]]);
    expect(plan.give.get('c17')?.message).toMatch(/Pods that came by withdrawn claims must go first: c1\./);
    const idle = { ...c1, status: { used: { cpu: '0', memory: '0', pods: '0' } } };
    expect(planGrants(world({ c17: undefined }, { grants: [idle] }))).toMatchObject({ remove: [idle] });
    // All of it held: the new claim has nothing.
    const full = { ...c1, status: { used: { cpu: '10', memory: '10Gi', pods: '9' } } };
    expect(planGrants(world({ c17: undefined }, { grants: [full] })).refuse.get('c17')?.reason).toBe(
      'Insufficient',
    );
  });

  it('does not give again what pods use beyond what their claim asks for by now', () => {
    const plan = planGrants(
      world(
        { a: { cpu: '1' }, b: { cpu: '9', memory: '1Gi', pods: '1' } },
        { grants: [grant('a', { cpu: '10' }, { cpu: '8' })] },
      ),
    );
    expect(cpuOf(plan, 'a')).toBe('1');
    expect(cpuOf(plan, 'b')).toBe('2');
  });

  it('makes no more Grants than claims may be, also where the peer never says that it told all', () => {
    const grants = names.slice(0, 16).map((name) => grant(name, { cpu: '10m', memory: '1Mi', pods: '1' }));
    const small = { cpu: '10m', memory: '1Mi', pods: '1' };
    const claims = { c17: small, c18: small };
    const plan = planGrants(world(claims, { grants, isComplete: false }));
    expect(plan.give.size).toBe(0);
    expect(plan.refuse.get('c17')?.reason).toBe('TooManyClaims');
    expect(plan.remove).toEqual([]);
    const after = planGrants(world(claims, { grants }));
    expect([...after.give.keys()]).toEqual(['c17', 'c18']);
    expect(after.remove).toHaveLength(16);
  });

  it('keeps what was given while no node is ready', () => {
    const grants = [grant('a', { cpu: '7' }, undefined, { peerMaximum: { cpu: '8' } })];
    const plan = planGrants(world({ a: undefined }, { grants, nodes: [] }));
    expect(plan.peerMaximum).toEqual({ cpu: '8' });
    expect(cpuOf(plan, 'a')).toBe('7');
  });

  it('leaves a Grant of a claim that is nonsense by now, and counts it', () => {
    const grants = [grant('a', { cpu: '6', memory: '6Gi', pods: '6' })];
    const plan = planGrants(world({ a: { cpu: '1e999' }, b: undefined }, { grants }));
    expect(plan.refuse.get('a')?.reason).toBe('InvalidClaim');
    expect(cpuOf(plan, 'b')).toBe('4');
  });

  it('never gives more in all than the maximum, never what is used elsewhere, and comes to rest', () => {
    const milli = fc.integer({ min: 0, max: 12_000 }).map((m) => `${m}m`);
    const claim = fc.constantFrom(...names.slice(0, 6));
    const step = fc.record({
      claims: fc.dictionary(claim, fc.option(fc.record({ cpu: milli }), { nil: undefined }), { maxKeys: 5 }),
      used: fc.dictionary(claim, milli, { maxKeys: 5 }),
      isComplete: fc.boolean(),
      cpus: fc.integer({ min: 0, max: 12 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
        let grants: Grant[] = [];
        for (const [n, { claims, used, isComplete, cpus }] of steps.entries()) {
          grants = grants.map((one) => {
            const cpu = used[one.spec.claim];
            return cpu === undefined ? one : { ...one, status: { used: { cpu } } };
          });
          const now = world(claims, { grants, isComplete, nodes: [node({ cpu: String(cpus) })] });
          const plan = planGrants(now);
          const most = parseQuantity(plan.peerMaximum['cpu'] ?? '0');
          const given = [...plan.give].map(
            ([name, { resources }]) => [name, parseQuantity(resources['cpu'] ?? '0')] as const,
          );
          expect(given.reduce((sum, [, cpu]) => sum + cpu, 0)).toBeLessThanOrEqual(most + 1e-6);
          const inUse = grants.map(
            (one) => [one.spec.claim, parseQuantity(one.status?.used?.['cpu'] ?? '0')] as const,
          );
          for (const [name, cpu] of given) {
            const elsewhere = inUse
              .filter(([other]) => other !== name)
              .reduce((sum, [, amount]) => sum + amount, 0);
            expect(cpu).toBeLessThanOrEqual(Math.max(0, most - elsewhere) + 1e-6);
          }
          for (const name of Object.keys(claims)) expect(plan.give.has(name)).toBe(!plan.refuse.has(name));
          for (const { message } of plan.refuse.values()) expect(message.length).toBeLessThan(1024);
          grants = apply(grants, plan, `2026-01-01T00:00:${String(n).padStart(2, '0')}Z`);
          const again = planGrants({ ...now, grants });
          expect([...again.give]).toEqual([...plan.give]);
          expect(again.remove).toEqual([]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
