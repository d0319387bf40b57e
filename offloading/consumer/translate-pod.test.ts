import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SHADOWS } from '../../api/collections.ts';
import { VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { Container, Pod, PodSpec } from '../../runtime/kube/types.ts';
import { whyNotFloatable } from './plan-floatable.ts';
import { configReferences, translatePod, translatePodSpec } from './translate-pod.ts';

const pod = (spec: Partial<PodSpec> = {}, metadata: Partial<Pod['metadata']> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web-0', namespace: 'shop', uid: 'u1', ...metadata },
  spec: { containers: [{ name: 'web', image: 'web' }], nodeName: 'fluvia-east', ...spec },
});

const env = (fieldPath: string): Container => ({
  name: 'web',
  env: [{ name: 'X', valueFrom: { fieldRef: { fieldPath } } }],
});

const firstEnv = (spec: Record<string, unknown>) => (spec['containers'] as Container[])[0]?.env?.[0];

describe('translatePod', () => {
  it.each([
    ['metadata.name', 'web-0'],
    ['metadata.namespace', 'shop'],
    ['metadata.uid', 'u1'],
    ["metadata.labels['app']", 'x'],
    ["metadata.annotations['note']", 'costs $$(5)'],
    ["metadata.labels['none']", ''],
    ['spec.nodeName', 'fluvia-east'],
    ['spec.serviceAccountName', 'default'],
  ])('%s becomes a literal that kubelet does not expand', (path, value) => {
    const given = pod(
      { containers: [env(path)] },
      { labels: { app: 'x' }, annotations: { note: 'costs $(5)' } },
    );
    expect(firstEnv(translatePodSpec(given))).toEqual({ name: 'X', value });
  });

  it('leaves the token of home out, with its mounts', () => {
    const given = pod({
      containers: [
        {
          name: 'web',
          volumeMounts: [
            { name: 'kube-api-access-x', mountPath: '/t' },
            { name: 'd', mountPath: '/d' },
          ],
        },
      ],
      volumes: [
        { name: 'kube-api-access-x', projected: { sources: [{ serviceAccountToken: {} }] } },
        { name: 'd', emptyDir: {} },
      ],
      serviceAccountName: 'shop',
    });
    expect(whyNotFloatable(given)).toBeUndefined();
    const spec = translatePodSpec(given);
    expect(spec['volumes']).toEqual([{ name: 'd', emptyDir: {} }]);
    expect((spec['containers'] as Container[])[0]?.volumeMounts).toEqual([{ name: 'd', mountPath: '/d' }]);
    expect(spec).toMatchObject({ automountServiceAccountToken: false });
    expect(spec).not.toHaveProperty('serviceAccountName');
  });

  it('says the grace of a pod that is being deleted', () => {
    expect(translatePod(pod(), 'n', 'c')).not.toHaveProperty('deletionGraceSeconds');
    const dying = pod({}, { deletionTimestamp: 'now', deletionGracePeriodSeconds: 7 });
    expect(translatePod(dying, 'n', 'c').deletionGraceSeconds).toBe(7);
  });

  it('finds every ConfigMap and Secret', () => {
    const references = configReferences({
      containers: [
        {
          name: 'a',
          env: [
            { name: 'A', valueFrom: { configMapKeyRef: { name: 'c1', key: 'k' } } },
            { name: 'B', valueFrom: { secretKeyRef: { name: 's1', key: 'k' } } },
          ],
          envFrom: [{ configMapRef: { name: 'c2' } }, { secretRef: { name: 's2' } }],
        },
      ],
      initContainers: [{ name: 'i', envFrom: [{ configMapRef: { name: 'c3' } }] }],
      volumes: [
        { name: 'v1', configMap: { name: 'c4' } },
        { name: 'v2', secret: { secretName: 's3' } },
        { name: 'v3', projected: { sources: [{ configMap: { name: 'c5' } }, { secret: { name: 's4' } }] } },
        { name: 'v4', configMap: { name: 'kube-root-ca.crt' } },
      ],
      imagePullSecrets: [{ name: 's5' }],
    });
    expect([...references.configMaps].toSorted()).toEqual(['c1', 'c2', 'c3', 'c4', 'c5']);
    expect([...references.secrets].toSorted()).toEqual(['s1', 's2', 's3', 's4', 's5']);
  });

  it('never widens privileges, and always fits the schema', () => {
    const security = fc.record(
      {
        privileged: fc.constant(false),
        runAsUser: fc.nat(),
        allowPrivilegeEscalation: fc.boolean(),
        capabilities: fc.constant({ drop: ['ALL'] }),
      },
      { requiredKeys: [] },
    );
    const container = fc.record(
      { name: fc.constantFrom('a', 'b'), securityContext: security, image: fc.string() },
      { requiredKeys: ['name'] },
    );
    const anySpec = fc.record(
      {
        containers: fc.array(container, { minLength: 1, maxLength: 2 }),
        initContainers: fc.array(container, { maxLength: 2 }),
        hostNetwork: fc.boolean(),
        hostPID: fc.boolean(),
        nodeName: fc.string(),
        nodeSelector: fc.constant({ a: 'b' }),
        serviceAccountName: fc.string(),
        serviceAccount: fc.string(),
        automountServiceAccountToken: fc.boolean(),
        priorityClassName: fc.constant('system-node-critical'),
        priority: fc.nat(),
        schedulerName: fc.string(),
        tolerations: fc.constant([{ operator: 'Exists' }, { key: VIRTUAL_NODE_TAINT, operator: 'Exists' }]),
        ephemeralContainers: fc.array(container, { maxLength: 1 }),
        securityContext: security,
        unheardOf: fc.anything(),
      },
      { requiredKeys: ['containers'] },
    );
    fc.assert(
      fc.property(anySpec, (spec) => {
        const given = pod(spec);
        const item = translatePod(given, 'fluvia-east', 'east');
        expect(SHADOWS.schema.safeParse(JSON.parse(JSON.stringify(item))).success).toBe(true);
        const forbidden = [
          'hostNetwork',
          'hostPID',
          'hostIPC',
          'nodeName',
          'nodeSelector',
          'affinity',
          'serviceAccountName',
          'serviceAccount',
          'priorityClassName',
          'priority',
          'schedulerName',
          'ephemeralContainers',
          'unheardOf',
          'overhead',
        ];
        for (const field of forbidden) expect(item.spec).not.toHaveProperty(field);
        expect(item.spec['automountServiceAccountToken']).toBe(false);
        expect(item.spec['tolerations']).toBeUndefined();
        const contexts = (list: unknown) => (list as Container[] | undefined)?.map((c) => c.securityContext);
        expect(contexts(item.spec['containers'])).toEqual(contexts(given.spec.containers));
        expect(contexts(item.spec['initContainers'])).toEqual(contexts(given.spec.initContainers));
        expect(item.spec['securityContext']).toEqual(given.spec.securityContext);
      }),
    );
  });
});

describe('whyNotFloatable', () => {
  it.each<[string, Partial<PodSpec>, RegExp]>([
    ['host network', { hostNetwork: true }, /hostNetwork/],
    ['host PID', { hostPID: true }, /hostPID/],
    ['hostPath', { volumes: [{ name: 'v', hostPath: { path: '/' } }] }, /hostPath/],
    [
      'a PVC',
      { volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'd' } }] },
      /in this cluster only/,
    ],
    ['CSI', { volumes: [{ name: 'v', csi: { driver: 'x' } }] }, /only home has/],
    [
      'its own token',
      { volumes: [{ name: 't', projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }] },
      /token/,
    ],
    ['its IP', { containers: [env('status.podIP')] }, /status\.podIP/],
    ['the host IP', { containers: [env('status.hostIP')] }, /status\.hostIP/],
    ['privileged', { containers: [{ name: 'c', securityContext: { privileged: true } }] }, /privileged/],
    ['a host port', { containers: [{ name: 'c', ports: [{ containerPort: 1, hostPort: 1 }] }] }, /hostPort/],
    [
      'its UID in a volume',
      {
        volumes: [
          { name: 'd', downwardAPI: { items: [{ path: 'u', fieldRef: { fieldPath: 'metadata.uid' } }] } },
        ],
      },
      /metadata\.uid/,
    ],
  ])('%s', (_, spec, expected) => {
    expect(whyNotFloatable(pod(spec))).toMatch(expected);
  });

  it('an ordinary pod floats', () => {
    expect(whyNotFloatable(pod({ volumes: [{ name: 'c', configMap: { name: 'c' } }] }))).toBeUndefined();
  });
});
