import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHADOW_STATUS, TWINS } from '../../api/collections.ts';
import type { Grant } from '../../api/v1alpha1/grant.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { NAMESPACE, POD, ROLE_BINDING, SUBJECT_ACCESS_REVIEW } from '../../runtime/kube/resources.ts';
import type { Namespace, Pod, SubjectAccessReview } from '../../runtime/kube/types.ts';
import { FABRIC_NODE, GRANT, HOME, make, OFFER, SHADOW_POD, tellAll, THIRD } from './provider-setup.ts';
import { fluvia, setUp, shadow, until, type Stage } from './provider-stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await setUp();
});
afterAll(() => stage?.tearDown());

describe('twins', () => {
  it('have the same name where it is free, with labels and the binding', async () => {
    stage.open('shop', { mapping: 'auto', sharedWith: [THIRD] });
    await until('twin ready', () => stage.run().peer.heard(TWINS).items.get('shop')?.ready === true);
    expect(stage.run().peer.heard(TWINS).items.get('shop')).toMatchObject({ twin: 'shop', reason: 'Ready' });
    const namespace = await stage.admin.get<Namespace>(NAMESPACE, 'shop');
    expect(namespace?.metadata.labels).toMatchObject({
      'fluvia.dev/origin': HOME,
      'fluvia.dev/origin-namespace': 'shop',
      'pod-security.kubernetes.io/enforce': 'baseline',
    });
    expect(await stage.admin.get(ROLE_BINDING, 'fluvia-peering', 'shop')).toMatchObject({
      subjects: [{ kind: 'ServiceAccount', namespace: 'fluvia-peers', name: HOME }],
    });
    await until('twins complete', () => stage.run().peer.heard(TWINS).complete);
  });

  it('are refused or suffixed where the name is taken, and the other is not touched', async () => {
    await make(stage.admin, NAMESPACE, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'mine', labels: { a: 'b' } },
    });
    const before = await stage.admin.get<Namespace>(NAMESPACE, 'mine');
    stage.open('mine', { mapping: 'auto', sharedWith: [] });
    await until('suffixed twin', () => stage.run().peer.heard(TWINS).items.get('mine')?.twin === 'mine-home');
    stage.open('default', { mapping: 'same', sharedWith: [] });
    await until(
      'refusal',
      () => stage.run().peer.heard(TWINS).items.get('default')?.reason === 'NameReserved',
    );
    expect((await stage.admin.get<Namespace>(NAMESPACE, 'mine'))?.metadata).toEqual(before?.metadata);
  });

  it('give the peering rights in themselves and nowhere else', async () => {
    const may = async (verb: string, resource: string, namespace: string, group = ''): Promise<boolean> => {
      const review = await stage.admin.create<SubjectAccessReview>(SUBJECT_ACCESS_REVIEW, {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        metadata: { name: '' },
        spec: {
          user: `system:serviceaccount:fluvia-peers:${HOME}`,
          groups: ['system:serviceaccounts', 'system:serviceaccounts:fluvia-peers', 'system:authenticated'],
          resourceAttributes: { verb, resource, namespace, group },
        },
      });
      return review.status?.allowed === true;
    };
    expect(await may('create', 'pods', 'shop')).toBe(true);
    expect(await may('create', 'shadowpods', 'shop', 'fluvia.dev')).toBe(true);
    const never: readonly (readonly [string, string, string, string?])[] = [
      ['create', 'pods', 'mine'],
      ['create', 'pods', 'kube-system'],
      ['get', 'secrets', 'fluvia-system'],
      ['get', 'secrets', 'default'],
      ['get', 'nodes', ''],
      ['list', 'pods', ''],
      ['create', 'rolebindings', 'shop', 'rbac.authorization.k8s.io'],
      ['bind', 'clusterroles', '', 'rbac.authorization.k8s.io'],
      ['escalate', 'roles', 'shop', 'rbac.authorization.k8s.io'],
      ['impersonate', 'users', ''],
      ['create', 'serviceaccounts/token', 'shop'],
      ['update', 'namespaces', 'shop'],
      ['get', 'peers', '', 'fluvia.dev'],
      ['get', 'grants', '', 'fluvia.dev'],
    ];
    const allowed: string[] = [];
    for (const one of never) if (await may(...one)) allowed.push(one.join(' '));
    expect(allowed).toEqual([]);
  });
});

describe('shadows', () => {
  it('wait for what they refer to, then run as the peering', async () => {
    const spec = {
      containers: [{ name: 'web', image: 'web:1', envFrom: [{ configMapRef: { name: 'conf' } }] }],
    };
    stage.ask('shop/web-0', shadow('u-web-0', spec));
    await until('a reason', () => stage.statusOf('shop/web-0')?.reason === 'MissingReference');
    expect(await stage.pod('web-0')).toBeUndefined();
    stage.bring({
      kind: 'ConfigMap',
      namespace: 'shop',
      name: 'conf',
      uid: 'c1',
      labels: {},
      annotations: {},
      body: { data: { a: '1' } },
    });
    await until('the pod', async () => (await stage.pod('web-0')) !== undefined);
    expect(await stage.pod('web-0')).toMatchObject({
      metadata: {
        labels: { app: 'web', 'fluvia.dev/origin': HOME },
        annotations: { 'fluvia.dev/origin-uid': 'u-web-0' },
        ownerReferences: [{ kind: 'ShadowPod', name: 'web-0' }],
      },
      spec: { automountServiceAccountToken: false, serviceAccountName: 'default', enableServiceLinks: false },
    });
    expect(stage.statusOf('shop/web-0')).toMatchObject({ state: 'accepted', status: { phase: 'Pending' } });
  });

  it('tell an address only once every gateway enforces its Offer, and keep it then', async () => {
    const gateway = fluvia('FabricNode', 'east-1', {
      nodeAddress: '198.18.0.2',
      podRanges: ['10.244.0.0/24'],
      externalAddress: '10.70.0.1',
      gateway: 'east-1',
    });
    await make(stage.admin, FABRIC_NODE, gateway);
    const ready = { type: 'Ready', status: 'True' };
    await stage.setPodStatus('web-0', {
      phase: 'Running',
      podIP: '10.244.0.7',
      podIPs: [{ ip: '10.244.0.7' }],
      hostIP: '198.18.0.2',
      hostIPs: [{ ip: '198.18.0.2' }],
      conditions: [ready],
      containerStatuses: [
        { name: 'web', ready: true, restartCount: 2, image: 'web:1', imageID: 'x', state: { running: {} } },
        {
          name: 'injected',
          ready: true,
          restartCount: 0,
          image: 'spy',
          imageID: 'y',
          state: { running: {} },
        },
      ],
    });
    await until('the Offers', async () => (await stage.admin.list<Offer>(OFFER)).items.length === 2);
    const offers = (await stage.admin.list<Offer>(OFFER)).items;
    expect(offers.map(({ metadata, spec }) => [metadata.name, spec.addresses])).toEqual([
      ['home-shadows-0', [{ cidr: '10.244.0.7/32' }]],
      ['third-shadows-0', [{ cidr: '10.244.0.7/32' }]],
    ]);
    await until('Running', () => stage.statusOf('shop/web-0')?.status?.['phase'] === 'Running');
    expect(stage.statusOf('shop/web-0')?.podIP).toBeUndefined();
    expect(JSON.stringify(stage.statusOf('shop/web-0'))).not.toMatch(/198\.18|injected/);
    const acknowledge = (generation: number) =>
      stage.admin.patch(
        FABRIC_NODE,
        'east-1',
        undefined,
        {
          status: {
            heartbeatAt: new Date().toISOString(),
            acknowledgedOffers: { 'home-shadows-0': generation },
          },
        },
        { type: 'merge', subresource: 'status' },
      );
    await acknowledge(1);
    await until('the address', () => stage.statusOf('shop/web-0')?.podIP === '10.244.0.7');
    // Another address makes a new generation of the Offer: the first stays told.
    stage.ask('shop/web-1', shadow('u-web-1'));
    await until('the second pod', async () => (await stage.pod('web-1')) !== undefined);
    await stage.setPodStatus('web-1', {
      phase: 'Running',
      podIP: '10.244.0.8',
      podIPs: [{ ip: '10.244.0.8' }],
    });
    await until(
      'the second Offer',
      async () => ((await stage.admin.get<Offer>(OFFER, 'home-shadows-0'))?.metadata.generation ?? 0) === 2,
    );
    expect(stage.statusOf('shop/web-0')?.podIP).toBe('10.244.0.7');
    expect(stage.statusOf('shop/web-1')?.podIP).toBeUndefined();
    await acknowledge(2);
    await until('the second address', () => stage.statusOf('shop/web-1')?.podIP === '10.244.0.8');
  });

  it('never exceed the grant, however many come at once, and tell what is missing', async () => {
    for (let i = 0; i < 40; i += 1) stage.ask(`shop/many-${i}`, shadow(`u-many-${i}`));
    const states = () =>
      [...stage.run().peer.heard(SHADOW_STATUS).items].filter(([id]) => id.startsWith('shop/many-'));
    await until('all answers', () => states().length === 40);
    const accepted = (): number => states().filter(([, { state }]) => state === 'accepted').length;
    // web-0 and web-1 are there, too; who asks for nothing counts the least.
    await until('the grant filled', () => accepted() === 8);
    expect(states().find(([, { state }]) => state === 'refused')?.[1]).toMatchObject({
      reason: 'QuotaExceeded',
      passing: true,
      message: 'cpu: 100m needed, 90m free',
    });
    await until(
      'used',
      async () => (await stage.admin.get<Grant>(GRANT, 'home-default'))?.status?.used?.['cpu'] === '910m',
    );
    expect((await stage.admin.get<Grant>(GRANT, 'home-default'))?.status?.used).toEqual({
      cpu: '910m',
      memory: '160Mi',
      pods: '10',
    });
    expect(
      (await stage.admin.list<Pod>(POD, { namespace: 'shop' })).items.filter(({ metadata }) =>
        metadata.name.startsWith('many-'),
      ),
    ).toHaveLength(8);
    // What comes free is given to one that waits.
    const [first] = states().find(([, { state }]) => state === 'accepted') ?? [''];
    stage.withdraw(first);
    await until('one more', () => states().length === 39 && accepted() === 8);
    // Another claim of the same peer gets no room beside it, and a withdrawn one takes nothing new.
    const grantOf = (claim: string, more: Partial<Grant['spec']>) =>
      fluvia('Grant', `home-${claim}`, {
        peer: 'home',
        claim,
        resources: { cpu: '1', memory: '1Gi', pods: '20' },
        peerMaximum: { cpu: '1', memory: '1Gi', pods: '20' },
        ...more,
      });
    await make(stage.admin, GRANT, grantOf('second', {}), grantOf('past', { withdrawn: true }));
    stage.ask('shop/many-40', { ...shadow('u-many-40'), claim: 'second' });
    stage.ask('shop/many-41', { ...shadow('u-many-41'), claim: 'past' });
    const messageOf = (id: string): string | undefined => stage.statusOf(id)?.message;
    await until('the second claim refused', () => messageOf('shop/many-40')?.includes('90m free') === true);
    expect(messageOf('shop/many-40')).toMatch(/^of what all claims of this peer get together/);
    expect(stage.statusOf('shop/many-41')).toMatchObject({ state: 'refused', reason: 'NoGrant' });
    stage.withdraw('shop/many-41');
    // What the first claim's pods give back, the second may have.
    for (let i = 0; i < 40; i += 1) stage.withdraw(`shop/many-${i}`);
    await until('its turn', () => stage.statusOf('shop/many-40')?.state === 'accepted');
    stage.withdraw('shop/many-40');
    await until(
      'room again',
      async () => (await stage.admin.get<Grant>(GRANT, 'home-default'))?.status?.used?.['cpu'] === '110m',
    );
    await until('nothing left', () => states().length === 0);
  });

  it('are refused with the reason of this cluster’s admission', async () => {
    stage.ask(
      'shop/root',
      shadow('u-root', {
        hostNetwork: true,
        containers: [{ name: 'a', image: 'x', securityContext: { privileged: true } }],
      }),
    );
    await until('refusal', () => stage.statusOf('shop/root')?.state === 'refused');
    expect(stage.statusOf('shop/root')).toMatchObject({ reason: 'PodSecurity' });
    // nothing but another spec would change that
    expect(stage.statusOf('shop/root')?.passing).toBeUndefined();
    stage.withdraw('shop/root');
    await until('forgotten', () => stage.statusOf('shop/root') === undefined);
  });

  it('are made again when they vanish, but a job is not run twice', async () => {
    stage.ask('shop/job', shadow('u-job', { restartPolicy: 'Never' }));
    await until('the job', async () => (await stage.pod('job')) !== undefined);
    await until(
      'its record',
      async () => (await stage.admin.get<ShadowPod>(SHADOW_POD, 'job', 'shop'))?.status?.podUID !== undefined,
    );
    const before = (await stage.pod('web-1'))?.metadata.uid;
    await stage.admin.delete(POD, 'web-1', 'shop');
    await stage.admin.delete(POD, 'job', 'shop');
    await until(
      'the new pod',
      async () => ![undefined, before].includes((await stage.pod('web-1'))?.metadata.uid),
    );
    await until('the failed job', () => stage.statusOf('shop/job')?.status?.['phase'] === 'Failed');
    expect(stage.statusOf('shop/job')).toMatchObject({ state: 'accepted', reason: 'PodLost' });
    expect(await stage.pod('job')).toBeUndefined();
    await until(
      'two lives',
      async () => (await stage.admin.get<ShadowPod>(SHADOW_POD, 'web-1', 'shop'))?.status?.incarnations === 2,
    );
    // Evicted: the old object is cleared away first, and home never sees an end.
    const second = (await stage.pod('web-1'))?.metadata.uid;
    await stage.setPodStatus('web-1', { phase: 'Failed', reason: 'Evicted' });
    await until(
      'the third pod',
      async () => ![undefined, second].includes((await stage.pod('web-1'))?.metadata.uid),
    );
    expect(stage.statusOf('shop/web-1')?.status?.['phase']).toBe('Pending');
    stage.withdraw('shop/job');
    await until('the job forgotten', () => stage.statusOf('shop/job') === undefined);
  });

  it('survive a restart and a consumer of which nothing is heard; a known absence ends them', async () => {
    await stage.restart();
    await until('their status', () => stage.statusOf('shop/web-0')?.podIP === '10.244.0.7');
    expect(stage.run().peer.heard(SHADOW_STATUS).complete).toBe(false);
    await stage.admin.delete(POD, 'web-1', 'shop');
    await until(
      'healed alone',
      async () =>
        (await stage.pod('web-1'))?.metadata.deletionTimestamp === undefined &&
        (await stage.pod('web-1')) !== undefined,
    );
    stage.wishes.shadows.delete('shop/web-1');
    tellAll(stage.run(), stage.wishes);
    await until('complete', () => stage.run().peer.heard(SHADOW_STATUS).complete);
    await until('ended', async () => (await stage.admin.get(SHADOW_POD, 'web-1', 'shop')) === undefined);
    expect(await stage.pod('web-1')).toBeUndefined();
    expect((await stage.pod('web-0'))?.metadata.deletionTimestamp).toBeUndefined();
  });

  it('end with home’s grace, then are gone as long as home asks', async () => {
    stage.ask('shop/web-2', shadow('u-web-2'));
    await until('the pod', async () => (await stage.pod('web-2')) !== undefined);
    stage.ask('shop/web-2', shadow('u-web-2', {}, { deletionGraceSeconds: 3 }));
    await until('gone', () => stage.statusOf('shop/web-2')?.state === 'gone');
    expect(await stage.pod('web-2')).toBeUndefined();
    expect(await stage.admin.get(SHADOW_POD, 'web-2', 'shop')).toBeUndefined();
    stage.withdraw('shop/web-2');
    await until('forgotten', () => stage.statusOf('shop/web-2') === undefined);
  });

  it('follow labels while they run', async () => {
    stage.ask('shop/web-0', {
      ...shadow('u-web-0', stage.wishes.shadows.get('shop/web-0')?.spec),
      labels: { app: 'web', tier: 'front' },
    });
    await until('the label', async () => (await stage.pod('web-0'))?.metadata.labels?.['tier'] === 'front');
    stage.ask('shop/web-0', {
      ...shadow('u-web-0', stage.wishes.shadows.get('shop/web-0')?.spec),
      labels: { app: 'web' },
    });
    await until('its end', async () => (await stage.pod('web-0'))?.metadata.labels?.['tier'] === undefined);
    expect((await stage.pod('web-0'))?.metadata.labels).toMatchObject({ app: 'web' });
  });
});
