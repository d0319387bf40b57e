import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VOLUMES_NAMESPACE } from '../../api/labels.ts';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import {
  MUTATING_WEBHOOK_CONFIGURATION,
  NAMESPACE,
  PERSISTENT_VOLUME,
  PERSISTENT_VOLUME_CLAIM,
  POD,
} from '../../runtime/kube/resources.ts';
import { fluviaRef, refOf } from '../../deploy/manifests/refs.ts';
import { webhookConfigurations } from '../../deploy/manifests/services.ts';
import { homeVolumeOf, placeholderOf, type Authority } from '../../storage-fabric/volumes/plan-source.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { controllerToken, installKinds } from './provider-setup.ts';
import { until } from './provider-stage.ts';

/** What a leader that was taken over can't do, with its own token, on a real API server. */
let server: TestApiServer;
let admin: KubeClient;
let controller: KubeClient;

const ENFORCE = 'pod-security.kubernetes.io/enforce';
const ID = 'v0123456789abcdef';
const GRANT_POLICY = fluviaRef('GrantPolicy');

const POD_OBJECT = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    automountServiceAccountToken: false,
    initContainers: [{ name: 'first', image: 'a' }],
    containers: [
      { name: 'web', image: 'b' },
      { name: 'side', image: 'c' },
    ],
  },
};

const patchPod = (body: object, dryRun = false): Promise<unknown> =>
  controller.patch(POD, 'web', 'default', body, { type: 'strategic', dryRun });

beforeAll(async () => {
  server = await startControlPlane();
  admin = createKubeClient(server.access);
  await installKinds(admin);
  for (const object of webhookConfigurations)
    await admin.apply(refOf(object), object, { fieldManager: 'test', force: true });
  const token = await controllerToken(admin);
  const { cert: _cert, key: _key, ...access } = server.access;
  controller = createKubeClient({ ...access, token: () => Promise.resolve(token) });
  await until('there is an account for pods', () =>
    admin.create(POD, POD_OBJECT).then(
      () => true,
      () => false,
    ),
  );
  // the last of them: they come into force in turn, a second or two after they were made
  await until('the policies are in force', () =>
    patchPod({ spec: { containers: [{ name: 'side', image: 'tried' }] } }, true).then(
      () => false,
      (error: unknown) => String(error).includes('changes no image'),
    ),
  );
});
afterAll(async () => {
  await controller?.close();
  await admin?.close();
  await server?.stop();
});

describe('a twin', () => {
  const twin = (name: string, labels: Record<string, string>): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { 'fluvia.dev/origin': 'x', ...labels } },
  });
  const make = (name: string, labels: Record<string, string>) =>
    controller.create(NAMESPACE, twin(name, labels));
  const relabel = (name: string, labels: Record<string, string | null>): Promise<unknown> =>
    controller.patch(NAMESPACE, name, undefined, { metadata: { labels } }, { type: 'merge' });
  const grant = (podSecurity: string): Promise<unknown> =>
    admin.apply(
      GRANT_POLICY,
      {
        apiVersion: 'fluvia.dev/v1alpha1',
        kind: 'GrantPolicy',
        metadata: { name: 'default' },
        spec: { podSecurity },
      } as KubeObject,
      { fieldManager: 'test', force: true },
    );

  it('is baseline or restricted, and nothing else unless people say so in GrantPolicy default', async () => {
    await make('good', { [ENFORCE]: 'baseline' });
    await relabel('good', { [ENFORCE]: 'restricted' });
    const refusals = [
      () => make('bad', { [ENFORCE]: 'privileged' }),
      () => make('bad', {}),
      () => make('bad', { [ENFORCE]: 'baseline', [`${ENFORCE}-version`]: 'v1.10' }),
      () => relabel('good', { [ENFORCE]: 'privileged' }),
      () => relabel('good', { [ENFORCE]: null }),
      () => relabel('good', { [`${ENFORCE}-version`]: 'v1.10' }),
    ];
    for (const attempt of refusals) await expect(attempt()).rejects.toThrow('denied request');
    await grant('restricted');
    await until('the policy knows it', async () => {
      const message = await relabel('good', { [ENFORCE]: 'privileged' }).catch(String);
      return String(message).includes('unless GrantPolicy default says');
    });
    await expect(relabel('good', { [ENFORCE]: 'privileged' })).rejects.toThrow(
      'unless GrantPolicy default says spec.podSecurity: privileged',
    );
  });

  it('may be privileged once GrantPolicy default says so, which the controller can not write', async () => {
    const patch = { spec: { podSecurity: 'privileged' } };
    await expect(
      controller.patch(GRANT_POLICY, 'default', undefined, patch, { type: 'merge' }),
    ).rejects.toThrow('403');
    await grant('privileged');
    await until('it is let through', () =>
      relabel('good', { [ENFORCE]: 'privileged' }).then(
        () => true,
        () => false,
      ),
    );
    await grant('baseline');
    await relabel('good', { [ENFORCE]: 'baseline' });
    await until('it is refused again', () =>
      relabel('good', { [ENFORCE]: 'privileged' }).then(
        () => relabel('good', { [ENFORCE]: 'baseline' }).then(() => false),
        () => true,
      ),
    );
    // Some peers' own policies may say so, where `default` lets them.
    await admin.patch(
      GRANT_POLICY,
      'default',
      undefined,
      { spec: { privilegedTwins: true } },
      { type: 'merge' },
    );
    await until('it is let through for them', () =>
      relabel('good', { [ENFORCE]: 'privileged' }).then(
        () => true,
        () => false,
      ),
    );
    await controller.delete(NAMESPACE, 'good');
  });
});

describe('a webhook', () => {
  const hook = 'float.fluvia.dev';
  const patch = (change: object): Promise<unknown> =>
    controller.patch(MUTATING_WEBHOOK_CONFIGURATION, 'fluvia', undefined, change, { type: 'strategic' });
  const bundle = Buffer.from('not looked at').toString('base64');

  it('is given its CA by the controller, and stays as it is otherwise', async () => {
    const { ca } = await makeServingBundle({ commonName: 'x', now: new Date() });
    const caBundle = Buffer.from(ca).toString('base64');
    const manifest = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: 'fluvia' },
      webhooks: [{ name: hook, clientConfig: { caBundle } }],
    } as unknown as KubeObject;
    await controller.apply(MUTATING_WEBHOOK_CONFIGURATION, manifest, {
      fieldManager: 'fluvia-offloading',
      force: true,
    });
    const rules = [{ apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*/*'] }];
    const changes: readonly object[] = [
      { rules },
      { namespaceSelector: null },
      { failurePolicy: 'Fail' },
      { timeoutSeconds: 30 },
      { objectSelector: { matchLabels: { a: 'b' } } },
      { clientConfig: { service: null, url: 'https://elsewhere.example/' } },
      { clientConfig: { service: { name: 'other', namespace: 'default' } } },
      { matchConditions: [{ name: 'x', expression: 'true' }] },
    ];
    for (const change of changes)
      await expect(patch({ webhooks: [{ name: hook, ...change }] })).rejects.toThrow('only the CA bundle');
    const second = {
      name: 'second.fluvia.dev',
      clientConfig: { url: 'https://elsewhere.example/', caBundle: bundle },
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      rules,
    };
    await expect(patch({ webhooks: [second] })).rejects.toThrow('403');
    await expect(patch({ webhooks: [{ $patch: 'delete', name: hook }] })).rejects.toThrow(
      'only the CA bundle',
    );
  });
});

describe('a pod', () => {
  it('that runs is annotated by the controller, and never given another image', async () => {
    const patch = patchPod;
    await patch({ metadata: { annotations: { 'fluvia.dev/placement': 'x' } } });
    await expect(patch({ spec: { containers: [{ name: 'side', image: 'evil' }] } })).rejects.toThrow(
      'changes no image',
    );
    await expect(patch({ spec: { initContainers: [{ name: 'first', image: 'evil' }] } })).rejects.toThrow(
      'changes no image',
    );
  });
});

describe('a PersistentVolume', () => {
  const authority: Authority = {
    annotations: { 'fluvia.dev/epoch': '1' },
    size: '1Gi',
    accessModes: ['ReadWriteOnce'],
    reclaimPolicy: 'Delete',
    claim: { namespace: 'default', name: 'data', uid: '00000000-0000-0000-0000-000000000001' },
  };
  const real = (source: object): PersistentVolume => ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'pvc-1' },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'disks',
      ...source,
    },
  });
  const tryMake = (volume: PersistentVolume) =>
    controller.create(PERSISTENT_VOLUME, volume, { dryRun: true });

  it('is made as a placeholder, or with the source of a real one', async () => {
    await tryMake(placeholderOf(ID, authority));
    for (const source of [
      { csi: { driver: 'disks.example', volumeHandle: 'x' } },
      { local: { path: '/disk/pvc-1' } },
      { hostPath: { path: '/opt/local-path-provisioner/pvc-1' } },
      { hostPath: { path: '/var/lib/rancher/k3s/storage/pvc-1_default_data' } },
      { nfs: { server: '192.0.2.1', path: '/' } },
    ])
      await tryMake(homeVolumeOf(ID, authority, real(source)));
  });

  it('is no directory of the system, under no name but its own, of no class but fluvia', async () => {
    for (const path of [
      '/',
      '//',
      '/./etc',
      '/data/.',
      '/etc',
      '//etc/kubernetes',
      '/root/.ssh',
      '/var',
      '/run',
      '/var/lib/kubelet/pods',
      '/var/lib/rancher/k3s/server/tls',
    ])
      for (const source of [{ hostPath: { path } }, { local: { path } }])
        await expect(tryMake(homeVolumeOf(ID, authority, real(source)))).rejects.toThrow(
          'directory of the system',
        );
    const placeholder = placeholderOf(ID, authority);
    const changed = (spec: object, metadata: object = {}): PersistentVolume => ({
      ...placeholder,
      metadata: { ...placeholder.metadata, ...metadata },
      spec: { ...placeholder.spec, ...spec },
    });
    const refusals = [
      [changed({ local: { path: '/data' } }), 'source of a placeholder'],
      [changed({ local: { path: '/var/lib/fluvia-placeholder/../../..' } }), '422'],
      [changed({}, { name: 'pvc-2' }), 'only its own PersistentVolumes'],
      [changed({ storageClassName: 'disks' }), 'of class fluvia only'],
      [changed({ claimRef: undefined }), 'of class fluvia only'],
    ] as const;
    for (const [volume, why] of refusals) await expect(tryMake(volume)).rejects.toThrow(why);
  });

  it('of others is not claimed, changed or deleted, but for its reclaim policy', async () => {
    await admin.create(PERSISTENT_VOLUME, real({ hostPath: { path: '/others' } }));
    const patch = (spec: object): Promise<unknown> =>
      controller.patch(PERSISTENT_VOLUME, 'pvc-1', undefined, { spec }, { type: 'merge' });
    await patch({ persistentVolumeReclaimPolicy: 'Retain' });
    const claimRef = { namespace: VOLUMES_NAMESPACE, name: 'mine' };
    await expect(patch({ claimRef })).rejects.toThrow('only the reclaim policy');
    await expect(patch({ storageClassName: 'fluvia' })).rejects.toThrow('only the reclaim policy');
    await expect(controller.delete(PERSISTENT_VOLUME, 'pvc-1')).rejects.toThrow(
      'only its own PersistentVolumes',
    );
  });

  it('of its own making is bound to no claim where it could run a pod', async () => {
    const claim = { namespace: VOLUMES_NAMESPACE, name: 'mine' };
    const made = homeVolumeOf(ID, authority, real({ hostPath: { path: '/data' } }));
    const { nodeAffinity: _affinity, ...spec } = made.spec;
    const volume = { ...made, spec: { ...spec, claimRef: claim } } as PersistentVolume;
    await controller.create(PERSISTENT_VOLUME, volume);
    const request = {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
    };
    const claimOf = (name: string, more: object) => ({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name, namespace: VOLUMES_NAMESPACE },
      spec: { ...request, ...more },
    });
    const volumeName = volume.metadata.name;
    await expect(
      controller.create(
        PERSISTENT_VOLUME_CLAIM,
        claimOf('direct', { storageClassName: 'fluvia', volumeName }),
      ),
    ).rejects.toThrow('bound to no claim where Fluvia runs pods');
    for (const storageClassName of ['fluvia', '']) {
      await controller.create(PERSISTENT_VOLUME_CLAIM, claimOf('mine', { storageClassName }));
      await systemClock.sleep(3000);
      const found = await admin.get(PERSISTENT_VOLUME_CLAIM, 'mine', VOLUMES_NAMESPACE);
      expect(found).toMatchObject({ status: { phase: 'Pending' } });
      expect(found).not.toHaveProperty('spec.volumeName');
      await controller.delete(PERSISTENT_VOLUME_CLAIM, 'mine', VOLUMES_NAMESPACE);
      await until(
        'it is gone',
        async () => (await admin.get(PERSISTENT_VOLUME_CLAIM, 'mine', VOLUMES_NAMESPACE)) === undefined,
      );
    }
    // in a namespace where it runs none, the same binds: what holds it off above is the policy
    const free = {
      ...claimOf('free', { storageClassName: 'fluvia' }),
      metadata: { name: 'free', namespace: 'default' },
    };
    const other = { ...volume, metadata: { ...volume.metadata, name: 'fluvia-v00000000000000ff' } };
    const spec2 = { ...volume.spec, claimRef: { namespace: 'default', name: 'free' } };
    await controller.create(PERSISTENT_VOLUME, { ...other, spec: spec2 });
    await admin.create(PERSISTENT_VOLUME_CLAIM, free);
    await until('it is bound', async () => {
      const found = await admin.get(PERSISTENT_VOLUME_CLAIM, 'free', 'default');
      return (found as { spec?: { volumeName?: string } } | undefined)?.spec?.volumeName !== undefined;
    });
  }, 30_000);
});
