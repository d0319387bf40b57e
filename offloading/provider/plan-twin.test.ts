import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RESERVED_NAMESPACES } from '../../api/v1alpha1/grant.ts';
import { planTwin, readyTwin, sharedWithOf, twinNames, type TwinWorld } from './plan-twin.ts';

const ID = 'abcdef'.padEnd(26, 'x');
const world = (more: Partial<TwinWorld> = {}): TwinWorld => ({
  clusterID: ID,
  peer: 'home',
  homeNamespace: 'shop',
  wanted: { mapping: 'auto', sharedWith: [] },
  complete: true,
  peerGone: false,
  twin: undefined,
  isTaken: () => false,
  reserved: RESERVED_NAMESPACES,
  noFurther: undefined,
  podSecurity: 'baseline',
  remaining: 0,
  ...more,
});
const labels = {
  'app.kubernetes.io/managed-by': 'fluvia',
  'fluvia.dev/origin': ID,
  'fluvia.dev/origin-namespace': 'shop',
  'pod-security.kubernetes.io/enforce': 'baseline',
};
const twin = { name: 'shop', terminating: false, labels, annotations: { 'fluvia.dev/shared-with': '' } };
const taken =
  (...names: readonly string[]) =>
  (name: string): boolean =>
    names.includes(name);

describe('planTwin', () => {
  it('takes the same name where it is free', () => {
    expect(planTwin(world())).toEqual({
      action: 'create',
      name: 'shop',
      meta: { labels, annotations: { 'fluvia.dev/shared-with': '' } },
    });
  });

  it.each([
    ['auto', ['shop'], 'create', 'shop-home'],
    ['auto', ['shop', 'shop-home'], 'create', 'shop-abcdef'],
    ['auto', ['shop', 'shop-home', 'shop-abcdef'], 'refuse', undefined],
    ['same', ['shop'], 'refuse', undefined],
  ] as const)('mapping %s with %j taken: %s %s', (mapping, names, action, name) => {
    const plan = planTwin(world({ wanted: { mapping, sharedWith: [] }, isTaken: taken(...names) }));
    expect(plan.action).toBe(action);
    expect('name' in plan ? plan.name : undefined).toBe(name);
  });

  it('gets no further twin where its consumer has the most already, but keeps those that stand', () => {
    expect(planTwin(world({ noFurther: 'the most is 2' }))).toEqual({
      action: 'refuse',
      status: { ready: false, reason: 'LimitExceeded', message: 'the most is 2' },
    });
    expect(planTwin(world({ noFurther: 'the most is 2', twin })).action).toBe('keep');
  });

  it('tells of a twin that stands what isn’t brought there', () => {
    expect(readyTwin('shop', 'shop', 'Secret a: too much')).toEqual({
      twin: 'shop',
      ready: true,
      reason: 'LimitExceeded',
      message: 'not brought there: Secret a: too much',
    });
    expect(readyTwin('shop', 'shop').reason).toBe('Ready');
  });

  it.each(['default', 'kube-system', 'fluvia-system'])('never becomes %s', (homeNamespace) => {
    expect(planTwin(world({ homeNamespace, wanted: { mapping: 'same', sharedWith: [] } }))).toMatchObject({
      action: 'refuse',
      status: { reason: 'NameReserved' },
    });
  });

  it.each([
    ['vault', 'auto', 'create', 'vault-home'],
    ['cert-manager', 'auto', 'create', 'cert-manager-home'],
    [
      'openshift-dns',
      'auto',
      'refuse',
      /^the name openshift-dns is reserved at the peer: use .* another name, or ask/,
    ],
    [
      'vault',
      'same',
      'refuse',
      /^the name vault is reserved at the peer: set spec.mapping .* to auto, or ask/,
    ],
    ['kube-system', 'same', 'refuse', /: use a namespace of another name$/],
    ['vaults', 'same', 'create', 'vaults'],
  ] as const)('of %s with mapping %s: %s %s', (homeNamespace, mapping, action, says) => {
    const plan = planTwin(world({ homeNamespace, wanted: { mapping, sharedWith: [] } }));
    expect(plan.action).toBe(action);
    const said = plan.action === 'refuse' ? plan.status.message : 'name' in plan ? plan.name : '';
    expect(said).toMatch(typeof says === 'string' ? new RegExp(`^${says}$`) : says);
  });

  it('keeps a twin that has a name which became reserved', () => {
    const labelled = { ...labels, 'fluvia.dev/origin-namespace': 'vault' };
    const standing = { ...twin, name: 'vault', labels: labelled };
    expect(planTwin(world({ homeNamespace: 'vault', twin: standing }))).toEqual({
      action: 'keep',
      name: 'vault',
    });
  });

  it('keeps a twin that stands, under whatever name its labels are found', () => {
    expect(planTwin(world({ twin: { ...twin, name: 'shop-home' } }))).toEqual({
      action: 'keep',
      name: 'shop-home',
    });
    expect(planTwin(world({ twin, podSecurity: 'restricted' }))).toMatchObject({
      action: 'keep',
      meta: { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    });
  });

  it('ends shadows before the namespace, and believes no absence too early', () => {
    expect(planTwin(world({ twin, wanted: undefined, complete: false })).action).toBe('none');
    expect(planTwin(world({ twin, wanted: undefined, remaining: 2 })).action).toBe('drain');
    expect(planTwin(world({ twin, wanted: undefined })).action).toBe('delete');
    expect(planTwin(world({ wanted: undefined })).action).toBe('forget');
  });

  it('goes with its peer, whatever is asked', () => {
    expect(planTwin(world({ twin, peerGone: true, complete: false, remaining: 1 })).action).toBe('drain');
    expect(planTwin(world({ twin, peerGone: true, complete: false })).action).toBe('delete');
    expect(planTwin(world({ twin: { ...twin, terminating: true }, peerGone: true })).action).toBe('wait');
  });

  it('records with whom the namespace is shared', () => {
    const other = 'b'.repeat(26);
    const plan = planTwin(world({ wanted: { mapping: 'auto', sharedWith: [other, ID, other] } }));
    expect(plan.action === 'create' && sharedWithOf(plan.meta.annotations)).toEqual([other]);
  });
});

describe('twinNames', () => {
  it('are valid names, never reserved ones', () => {
    const any = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
    const name = fc.oneof(any, fc.constantFrom('default', 'vault', 'cert', 'manager', 'istio', 'b'));
    fc.assert(
      fc.property(
        name,
        name,
        fc.constantFrom('auto' as const, 'same' as const),
        fc.constantFrom(RESERVED_NAMESPACES, [], ['a*', 'b']),
        (namespace, peer, mapping, reserved) => {
          for (const one of twinNames(namespace, mapping, peer, ID, reserved)) {
            expect(one).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
            expect(one === 'default' || one.startsWith('kube-') || one.startsWith('fluvia-')).toBe(false);
            expect(reserved.includes(one)).toBe(false);
            expect(reserved.some((two) => two.endsWith('*') && one.startsWith(two.slice(0, -1)))).toBe(false);
          }
        },
      ),
    );
  });
});
