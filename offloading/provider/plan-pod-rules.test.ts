import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseQuantity } from '../../api/quantity.ts';
import { LEAST_REQUESTS, type GrantPolicy } from '../../api/v1alpha1/grant.ts';
import { planPodRules, underRules, type PodRules } from './plan-pod-rules.ts';
import { podAmounts } from './plan-quota.ts';
import { ForeignPodSpec } from './pod-schema.ts';

const policy = (spec: Partial<GrantPolicy['spec']>): GrantPolicy => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'GrantPolicy',
  metadata: { name: 'default' },
  spec: { sharePercent: 80, podSecurity: 'baseline', leastRequests: LEAST_REQUESTS, ...spec },
});
const rules = (more: Partial<PodRules> = {}): PodRules => ({
  ...planPodRules(undefined, ['v1.37.2']),
  ...more,
});

describe('planPodRules', () => {
  it.each([
    [['v1.37.2', 'v1.35.0-gke.100'], false],
    [['v1.37.2', 'v1.34.9'], true],
    [[''], true],
    [['nonsense'], true],
    [['v2.0.0'], false],
    [[], false],
  ])('with kubelets %j asks the registry for every image: %j', (versions, alwaysPull) => {
    expect(planPodRules(undefined, versions).alwaysPull).toBe(alwaysPull);
  });

  it('does as the policy says, where there is one', () => {
    expect(planPodRules(policy({ imagePull: 'Always' }), ['v1.37.2']).alwaysPull).toBe(true);
    expect(planPodRules(policy({ imagePull: 'AsAsked' }), ['v1.30.0']).alwaysPull).toBe(false);
    const own = policy({ leastRequests: { cpu: '50m' }, podSecurity: 'restricted' });
    expect(planPodRules(own, [])).toEqual({
      level: 'restricted',
      leastRequests: { cpu: '50m' },
      alwaysPull: false,
    });
  });
});

describe('underRules', () => {
  const web: ForeignPodSpec['containers'][number] = { name: 'web', image: 'web:1' };

  it('makes every container ask for the least, so that a pod without requests counts', () => {
    const spec = underRules({ containers: [web, { ...web, name: 'side' }], initContainers: [web] }, rules());
    expect(spec.containers[0]?.resources).toEqual({ requests: { cpu: '10m', memory: '16Mi' } });
    expect(spec.initContainers?.[0]?.resources).toEqual({ requests: { cpu: '10m', memory: '16Mi' } });
    expect(podAmounts(spec)).toEqual({ cpu: 20, memory: 32 * 2 ** 20, pods: 1 });
  });

  it.each([
    ['more stays', { requests: { cpu: '2' } }, { cpu: '2', memory: '16Mi' }],
    ['less is raised', { requests: { cpu: '1m', memory: '1' } }, { cpu: '10m', memory: '16Mi' }],
    ['a limit is a request', { limits: { cpu: '1' } }, { cpu: '1', memory: '16Mi' }],
    ['never beyond a limit', { limits: { cpu: '5m', memory: '8Mi' } }, { cpu: '5m', memory: '8Mi' }],
  ])('%s', (_what, resources, requests) => {
    const spec = underRules<ForeignPodSpec>({ containers: [{ ...web, resources }] }, rules());
    expect(spec.containers[0]?.resources?.requests).toEqual(requests);
  });

  it('raises what the pod asks as a whole, not its containers', () => {
    const resources = { requests: { cpu: '1m' }, limits: { cpu: '1' } };
    const spec = underRules({ containers: [web], resources }, rules());
    expect(spec.resources).toEqual({ requests: { cpu: '10m' }, limits: { cpu: '1' } });
    expect(spec.containers[0]?.resources).toEqual({ requests: { memory: '16Mi' } });
  });

  it('changes nothing where nothing is demanded', () => {
    const spec = { containers: [{ ...web, imagePullPolicy: 'Never' as const }], volumes: [{ name: 'v' }] };
    expect(underRules(spec, rules({ leastRequests: {} }))).toEqual(spec);
  });

  it('asks the registry for every image, whatever the pod says', () => {
    const spec = underRules(
      {
        containers: [web, { ...web, name: 'b', imagePullPolicy: 'Never' }],
        initContainers: [{ ...web, imagePullPolicy: 'IfNotPresent' }],
        volumes: [{ name: 'a', image: { reference: 'data:1', pullPolicy: 'Never' } }, { name: 'b' }],
      },
      rules({ alwaysPull: true }),
    );
    const policies = [...spec.containers, ...(spec.initContainers ?? [])].map((c) => c.imagePullPolicy);
    expect(policies).toEqual(['Always', 'Always', 'Always']);
    expect(spec.volumes).toEqual([
      { name: 'a', image: { reference: 'data:1', pullPolicy: 'Always' } },
      { name: 'b' },
    ]);
  });

  it('never asks beyond a limit, never lowers what is counted, and is the same when done again', () => {
    const amount = fc.constantFrom('0', '1m', '5m', '10m', '1', '8Mi', '16Mi', '1Gi');
    const list = fc.record({ cpu: amount, memory: amount }, { requiredKeys: [] });
    const resources = fc.option(fc.record({ requests: list, limits: list }, { requiredKeys: [] }), {
      nil: undefined,
    });
    const container = resources.map((r): typeof web => ({
      ...web,
      ...(r === undefined ? {} : { resources: r }),
    }));
    fc.assert(
      fc.property(fc.array(container, { minLength: 1, maxLength: 3 }), resources, (containers, whole) => {
        const before = { containers, ...(whole === undefined ? {} : { resources: whole }) };
        const after = underRules(before, rules());
        expect(ForeignPodSpec.safeParse(after).success).toBe(true);
        expect(underRules(after, rules())).toEqual(after);
        for (const [name, counted] of Object.entries(podAmounts(before))) {
          expect(podAmounts(after)[name]).toBeGreaterThanOrEqual(counted);
        }
        for (const [index, { resources: had }] of containers.entries()) {
          for (const [name, limit = '0'] of Object.entries(had?.limits ?? {})) {
            // what asks beyond its limit is the consumer's own mistake
            const most = Math.max(parseQuantity(limit), parseQuantity(had?.requests?.[name] ?? '0'));
            const now = after.containers[index]?.resources?.requests?.[name] ?? '0';
            expect(parseQuantity(now)).toBeLessThanOrEqual(most);
          }
        }
      }),
    );
  });
});
