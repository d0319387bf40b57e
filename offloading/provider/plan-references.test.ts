import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeReference, referencesOf, withNamesInTwin } from './plan-references.ts';
import { ForeignPodSpec } from './pod-schema.ts';

const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?$/);
const maybe = <T>(arb: fc.Arbitrary<T>) => fc.option(arb, { nil: undefined });
const ref = fc.record({ name, optional: maybe(fc.boolean()) });
const keyRef = ref.map((one) => ({ ...one, key: 'k' }));
const container = fc.record({
  name: fc.constant('a'),
  image: fc.constant('x'),
  env: maybe(
    fc.array(
      fc.record({
        name: fc.constant('E'),
        valueFrom: maybe(fc.record({ configMapKeyRef: maybe(keyRef), secretKeyRef: maybe(keyRef) })),
      }),
    ),
  ),
  envFrom: maybe(fc.array(fc.record({ configMapRef: maybe(ref), secretRef: maybe(ref) }))),
});
const volume = fc.record({
  name: fc.constant('v'),
  configMap: maybe(ref),
  secret: maybe(fc.record({ secretName: name, optional: maybe(fc.boolean()) })),
  projected: maybe(
    fc.record({ sources: maybe(fc.array(fc.record({ configMap: maybe(ref), secret: maybe(ref) }))) }),
  ),
  persistentVolumeClaim: maybe(fc.record({ claimName: name })),
});
const spec = fc
  .record({
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
    initContainers: maybe(fc.array(container, { maxLength: 2 })),
    volumes: maybe(fc.array(volume, { maxLength: 3 })),
    imagePullSecrets: maybe(fc.array(fc.record({ name }), { maxLength: 3 })),
  })
  .map((one) => ForeignPodSpec.parse(one));

describe('withNamesInTwin', () => {
  it('leaves no reference to an object that Fluvia did not make, and changes nothing else', () => {
    fc.assert(
      fc.property(spec, (asked) => {
        const made = withNamesInTwin(asked);
        const before = referencesOf(asked);
        const after = referencesOf({ ...asked, ...made });
        expect(after).toHaveLength(before.length);
        const ofHome = after.filter(
          (one) => one.kind !== 'PersistentVolumeClaim' && !one.name.endsWith('.fluvia'),
        );
        expect(ofHome).toEqual([]);
        // Every name is one that stood there, and nothing but names became another.
        expect(JSON.stringify(made).replaceAll('.fluvia"', '"')).toBe(
          JSON.stringify({
            containers: asked.containers,
            initContainers: asked.initContainers,
            volumes: asked.volumes,
            imagePullSecrets: asked.imagePullSecrets,
          }),
        );
      }),
    );
  });

  it('leaves what Kubernetes keeps in every namespace', () => {
    const volumes = [{ name: 'ca', configMap: { name: 'kube-root-ca.crt' } }];
    expect(withNamesInTwin({ containers: [], volumes }).volumes).toEqual(volumes);
  });
});

describe('judgeReference', () => {
  it.each([
    [false, 'own', false, 'fine'],
    [false, 'absent', false, 'missing'],
    [true, 'absent', false, 'fine'],
    [true, 'absent', true, 'missing'],
    [true, 'own', true, 'fine'],
    [false, 'foreign', true, 'foreign'],
    [true, 'foreign', false, 'foreign'],
  ] as const)('optional %j, %s, comes %j: %s', (optional, found, comes, verdict) => {
    expect(judgeReference({ kind: 'Secret', name: 'pass', optional }, found, comes)).toBe(verdict);
  });
});
