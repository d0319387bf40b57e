import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { containerNames, planPod, podManifest, type ForeignPod, type PodPlan } from './plan-pod.ts';
import { referencesOf } from './plan-references.ts';

const foreign = (spec: Record<string, unknown>, more: Partial<ForeignPod> = {}): ForeignPod => ({
  clusterID: 'a'.repeat(26),
  uid: 'uid-1',
  node: 'peer-east',
  labels: {},
  annotations: {},
  spec,
  ...more,
});
const web = { name: 'web', image: 'web:1' };
const reasonOf = (plan: PodPlan): string => (plan.ok ? 'ok' : plan.reason);

const KEPT_AT_TOP = new Set([
  'containers',
  'initContainers',
  'volumes',
  'restartPolicy',
  'terminationGracePeriodSeconds',
  'activeDeadlineSeconds',
  'dnsPolicy',
  'dnsConfig',
  'hostname',
  'subdomain',
  'setHostnameAsFQDN',
  'hostAliases',
  'imagePullSecrets',
  'readinessGates',
  'securityContext',
  'shareProcessNamespace',
  'resources',
  'os',
  'topologySpreadConstraints',
  'hostNetwork',
  'hostPID',
  'hostIPC',
  'automountServiceAccountToken',
  'serviceAccountName',
  'enableServiceLinks',
  'affinity',
]);

/** Every key anywhere in a value. */
const keysIn = (value: unknown): readonly string[] => {
  if (Array.isArray(value)) return value.flatMap(keysIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...keysIn(inner)]);
};

/** What no translated pod may have anywhere, whatever was asked. */
const FORBIDDEN_KEYS = new Set([
  'nodeName',
  'nodeSelector',
  'tolerations',
  'priorityClassName',
  'priority',
  'preemptionPolicy',
  'runtimeClassName',
  'schedulerName',
  'schedulingGates',
  'serviceAccount',
  'overhead',
  'ephemeralContainers',
  'resourceClaims',
  'claims',
  'hostPort',
  'hostIP',
  'hostUsers',
  'mountPropagation',
  'volumeDevices',
  'serviceAccountToken',
  'csi',
  'nfs',
  'ephemeral',
  'podAffinity',
  'seLinuxOptions',
  'windowsOptions',
  'host',
]);

describe('planPod', () => {
  it('keeps what a pod needs to be itself, and forces the rest', () => {
    const spec = {
      containers: [
        {
          ...web,
          command: ['serve'],
          env: [{ name: 'A', value: 'b' }],
          ports: [{ containerPort: 80, hostPort: 80, hostIP: '0.0.0.0' }],
          livenessProbe: { httpGet: { path: '/', port: 'http', host: '169.254.169.254' } },
          volumeMounts: [{ name: 'data', mountPath: '/data', mountPropagation: 'Bidirectional' }],
          resources: { requests: { cpu: '100m' }, claims: [{ name: 'gpu' }] },
        },
      ],
      volumes: [{ name: 'data', emptyDir: {} }],
      hostNetwork: true,
      hostPID: true,
      nodeName: 'control-plane',
      nodeSelector: { 'node-role.kubernetes.io/control-plane': '' },
      tolerations: [{ operator: 'Exists' }],
      priorityClassName: 'system-node-critical',
      serviceAccountName: 'admin',
      automountServiceAccountToken: true,
      dnsPolicy: 'ClusterFirstWithHostNet',
      restartPolicy: 'Always',
    };
    const plan = planPod(foreign(spec), 'baseline');
    expect(plan).toEqual({
      ok: true,
      pod: {
        labels: { 'fluvia.dev/origin': 'a'.repeat(26), 'fluvia.dev/reflected': 'true' },
        annotations: { 'fluvia.dev/origin-uid': 'uid-1', 'fluvia.dev/origin-node': 'peer-east' },
        spec: {
          containers: [
            {
              ...web,
              command: ['serve'],
              env: [{ name: 'A', value: 'b' }],
              ports: [{ containerPort: 80 }],
              livenessProbe: { httpGet: { path: '/', port: 'http' } },
              volumeMounts: [{ name: 'data', mountPath: '/data' }],
              resources: { requests: { cpu: '100m' } },
            },
          ],
          volumes: [{ name: 'data', emptyDir: {} }],
          restartPolicy: 'Always',
          dnsPolicy: 'ClusterFirst',
          hostNetwork: false,
          hostPID: false,
          hostIPC: false,
          automountServiceAccountToken: false,
          serviceAccountName: 'default',
          enableServiceLinks: false,
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: {
                nodeSelectorTerms: [
                  { matchExpressions: [{ key: 'fluvia.dev/virtual-node', operator: 'DoesNotExist' }] },
                ],
              },
            },
          },
        },
      },
    });
  });

  it.each([
    [
      'a privileged container',
      { containers: [{ ...web, securityContext: { privileged: true } }] },
      'PodSecurity',
    ],
    [
      'an added capability',
      { containers: [{ ...web, securityContext: { capabilities: { add: ['NET_ADMIN'] } } }] },
      'PodSecurity',
    ],
    [
      'a privileged init container',
      { containers: [web], initContainers: [{ ...web, securityContext: { privileged: true } }] },
      'PodSecurity',
    ],
    [
      'no seccomp',
      { containers: [web], securityContext: { seccompProfile: { type: 'Unconfined' } } },
      'PodSecurity',
    ],
    [
      'an unsafe sysctl',
      { containers: [web], securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } },
      'PodSecurity',
    ],
    ['a hostPath', { containers: [web], volumes: [{ name: 'h', hostPath: { path: '/' } }] }, 'PodSecurity'],
    [
      'an ephemeral claim',
      { containers: [web], volumes: [{ name: 'p', ephemeral: { volumeClaimTemplate: {} } }] },
      'NotOffered',
    ],
    [
      'an NFS mount',
      { containers: [web], volumes: [{ name: 'n', nfs: { server: 'x', path: '/' } }] },
      'NotOffered',
    ],
    ['a runtime class', { containers: [web], runtimeClassName: 'gvisor' }, 'NotOffered'],
    ['no container', { containers: [] }, 'InvalidSpec'],
    [
      'a negative request',
      { containers: [{ ...web, resources: { requests: { cpu: '-1' } } }] },
      'InvalidSpec',
    ],
    ['something else', { containers: 'all' }, 'InvalidSpec'],
  ])('refuses %s', (_, spec, reason) => {
    expect(reasonOf(planPod(foreign(spec), 'baseline'))).toBe(reason);
  });

  it('lets the privileged level have what it allows, but never the host namespaces', () => {
    const plan = planPod(
      foreign({ containers: [{ ...web, securityContext: { privileged: true } }], hostNetwork: true }),
      'privileged',
    );
    expect(plan).toMatchObject({
      ok: true,
      pod: { spec: { hostNetwork: false, containers: [{ securityContext: { privileged: true } }] } },
    });
  });

  it("drops labels and annotations that this cluster's controllers obey", () => {
    const labels = {
      app: 'web',
      'app.kubernetes.io/name': 'web',
      'example.com/tier': 'front',
      'statefulset.kubernetes.io/pod-name': 'web-0',
      'kubernetes.io/metadata.name': 'kube-system',
      'pod-security.kubernetes.io/enforce': 'privileged',
      'fluvia.dev/origin': 'b'.repeat(26),
      'sidecar.istio.io/inject': 'true',
      'bad key': 'x',
      ok: 'bad value',
    };
    const annotations = {
      note: 'hi',
      'kubectl.kubernetes.io/default-container': 'web',
      'prometheus.io/scrape': 'true',
      'container.apparmor.security.beta.kubernetes.io/web': 'unconfined',
      'fluvia.dev/origin-uid': 'other',
    };
    const plan = planPod(foreign({ containers: [web] }, { labels, annotations }), 'baseline');
    expect(plan).toMatchObject({ ok: true });
    expect(plan.ok && plan.pod.labels).toEqual({
      app: 'web',
      'app.kubernetes.io/name': 'web',
      'example.com/tier': 'front',
      'statefulset.kubernetes.io/pod-name': 'web-0',
      'fluvia.dev/origin': 'a'.repeat(26),
      'fluvia.dev/reflected': 'true',
    });
    expect(plan.ok && plan.pod.annotations).toEqual({
      note: 'hi',
      'kubectl.kubernetes.io/default-container': 'web',
      'fluvia.dev/origin-uid': 'uid-1',
      'fluvia.dev/origin-node': 'peer-east',
    });
  });

  it('never yields more than the allow-list, whatever spec is thrown at it', () => {
    const nasty = fc.oneof(
      fc.constantFrom<unknown>(
        true,
        'Unconfined',
        'Unmasked',
        'SYS_ADMIN',
        '/',
        0,
        -1,
        null,
        ['SYS_ADMIN'],
        {},
      ),
      fc.jsonValue({ maxDepth: 1 }),
    );
    // Not what is refused as a whole: then nothing would be left to look at.
    const droppable = [...FORBIDDEN_KEYS].filter(
      (key) => !['runtimeClassName', 'resourceClaims', 'ephemeralContainers'].includes(key),
    );
    const extra = fc.dictionary(fc.constantFrom(...droppable, '__proto__', 'constructor'), nasty, {
      maxKeys: 3,
    });
    const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 1 });
    const mixed = <T extends object>(base: fc.Arbitrary<T>) =>
      fc.tuple(extra, base).map(([more, own]) => ({ ...more, ...own }));
    const security = mixed(
      fc.record({
        privileged: maybe(fc.boolean()),
        capabilities: maybe(
          fc.record({
            add: fc.array(fc.constantFrom('SYS_ADMIN', 'ALL', 'CHOWN', 'KILL'), { maxLength: 2 }),
          }),
        ),
        seccompProfile: maybe(fc.record({ type: fc.constantFrom('Unconfined', 'RuntimeDefault') })),
        procMount: maybe(fc.constantFrom('Unmasked', 'Default')),
      }),
    );
    const container = mixed(
      fc.record({
        name: fc.constantFrom('a', 'b'),
        image: fc.constant('x'),
        securityContext: maybe(security),
        ports: maybe(fc.array(mixed(fc.record({ containerPort: fc.integer({ min: 1, max: 65535 }) })))),
        livenessProbe: maybe(mixed(fc.record({ httpGet: mixed(fc.record({ port: fc.constant(1) })) }))),
      }),
    );
    const volume = mixed(
      fc.record({
        name: fc.constantFrom('v', 'w'),
        hostPath: maybe(fc.constant({ path: '/' })),
        emptyDir: maybe(fc.constant({})),
      }),
    );
    const spec = mixed(
      fc.record({
        containers: fc.array(container, { minLength: 1, maxLength: 2 }),
        initContainers: maybe(fc.array(container, { maxLength: 1 })),
        volumes: maybe(fc.array(volume, { maxLength: 2 })),
        securityContext: maybe(security),
        hostNetwork: maybe(fc.boolean()),
        hostIPC: maybe(fc.boolean()),
      }),
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.oneof(spec, fc.dictionary(fc.string(), fc.jsonValue())), (raw) => {
        const json = JSON.parse(JSON.stringify(raw)) as Record<string, unknown>;
        const plan = planPod(foreign(json), 'baseline');
        if (!plan.ok) return;
        accepted += 1;
        const { spec: made } = plan.pod;
        expect(Object.keys(made).filter((key) => !KEPT_AT_TOP.has(key))).toEqual([]);
        expect(keysIn(made).filter((key) => FORBIDDEN_KEYS.has(key))).toEqual([]);
        expect([made.hostNetwork, made.hostPID, made.hostIPC]).toEqual([false, false, false]);
        expect(made.serviceAccountName).toBe('default');
        const all = [...(made.initContainers ?? []), ...made.containers];
        expect(all.some((one) => one.securityContext?.privileged === true)).toBe(false);
        expect(
          all
            .flatMap((one) => one.securityContext?.capabilities?.add ?? [])
            .filter((cap) => !['CHOWN', 'KILL'].includes(cap)),
        ).toEqual([]);
        expect(made.volumes?.some((one) => one.hostPath !== undefined) ?? false).toBe(false);
        expect(JSON.stringify(made)).not.toMatch(/Unconfined|Unmasked/);
      }),
      { numRuns: 400 },
    );
    expect(accepted).toBeGreaterThan(20);
  }, 60_000);
});

describe('referencesOf', () => {
  it('finds every reference once; needed beats optional', () => {
    const plan = planPod(
      foreign({
        containers: [
          {
            ...web,
            envFrom: [{ configMapRef: { name: 'env', optional: true } }, { secretRef: { name: 'pass' } }],
            env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'env', key: 'x' } } }],
          },
        ],
        volumes: [
          { name: 'a', configMap: { name: 'files', optional: true } },
          { name: 'b', secret: { secretName: 'tls' } },
          {
            name: 'c',
            projected: { sources: [{ secret: { name: 'pass' } }, { serviceAccountToken: { path: 't' } }] },
          },
        ],
        imagePullSecrets: [{ name: 'pull' }],
      }),
      'baseline',
    );
    expect(plan.ok && referencesOf(plan.pod.spec)).toEqual([
      { kind: 'ConfigMap', name: 'env', optional: false },
      { kind: 'Secret', name: 'pass', optional: false },
      { kind: 'ConfigMap', name: 'files', optional: true },
      { kind: 'Secret', name: 'tls', optional: false },
      { kind: 'Secret', name: 'pull', optional: true },
    ]);
    expect(plan.ok && plan.pod.spec.volumes?.[2]).toEqual({
      name: 'c',
      projected: { sources: [{ secret: { name: 'pass' } }] },
    });
  });
});

describe('containerNames', () => {
  it('reads any value without trusting it', () => {
    expect([
      ...containerNames({ containers: [{ name: 'a' }, null, 1], initContainers: [{ name: 'b' }] }),
    ]).toEqual(['b', 'a']);
    expect([...containerNames({ containers: 'x' })]).toEqual([]);
  });
});

describe('podManifest', () => {
  it('is owned by its ShadowPod', () => {
    const pod = podManifest(
      {
        apiVersion: 'fluvia.dev/v1alpha1',
        kind: 'ShadowPod',
        metadata: { name: 'web-0', namespace: 'shop', uid: 'u' },
        spec: {
          home: { clusterID: 'c', namespace: 'shop', name: 'web-0', uid: 'h', node: 'n' },
          grant: 'g',
          pod: { labels: { app: 'web' }, spec: { containers: [], hostPID: false } },
        },
      },
      { containers: [], volumes: [{ name: 'v', secret: { secretName: 'pass' } }] },
    );
    expect(pod.spec).toEqual({
      containers: [],
      hostPID: false,
      volumes: [{ name: 'v', secret: { secretName: 'pass.fluvia' } }],
    });
    expect(pod.metadata).toEqual({
      name: 'web-0',
      namespace: 'shop',
      labels: { app: 'web' },
      annotations: {},
      ownerReferences: [
        { apiVersion: 'fluvia.dev/v1alpha1', kind: 'ShadowPod', name: 'web-0', uid: 'u', controller: true },
      ],
    });
  });
});
