/** What a consumer that turned hostile asks of a provider on a real API server, and what becomes of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NAMESPACES, OBJECTS, TWINS } from '../../api/collections.ts';
import { CONFIG_MAP, fluviaResource, NAMESPACE, SECRET } from '../../runtime/kube/resources.ts';
import type { Namespace } from '../../runtime/kube/types.ts';
import { make, tellAll } from './provider-setup.ts';
import { fluvia, setUp, shadow, until, type Stage } from './provider-stage.ts';

const GRANT_POLICY = fluviaResource('GrantPolicy', 'grantpolicies', false);

let stage: Stage;
beforeAll(async () => {
  stage = await setUp();
  stage.open('shop', { mapping: 'auto', sharedWith: [] });
  await until('twin ready', () => stage.run().peer.heard(TWINS).items.get('shop')?.ready === true);
});
afterAll(() => stage?.tearDown());

describe('the policy of another peer', () => {
  const level = async (): Promise<string | undefined> =>
    (await stage.admin.get<Namespace>(NAMESPACE, 'shop'))?.metadata.labels?.[
      'pod-security.kubernetes.io/enforce'
    ];
  const privileged = shadow('u-root', {
    containers: [{ name: 'a', image: 'x', securityContext: { privileged: true } }],
  });

  it('gives nothing, though it is named default', async () => {
    await make(
      stage.admin,
      GRANT_POLICY,
      fluvia('GrantPolicy', 'default', { peers: ['trusted'], podSecurity: 'privileged' }),
      // by what comes of this one it is known that the other was seen
      fluvia('GrantPolicy', 'strict', { peers: ['home'], podSecurity: 'restricted' }),
    );
    await until('its own level', async () => (await level()) === 'restricted');
    stage.ask('shop/root', privileged);
    await until('refusal', () => stage.statusOf('shop/root')?.state === 'refused');
    expect(stage.statusOf('shop/root')?.message).toMatch(/this cluster enforces restricted/);
    await stage.admin.delete(GRANT_POLICY, 'strict');
    await until('the built-in level', async () => (await level()) === 'baseline');
    stage.withdraw('shop/root');
    await until('forgotten', () => stage.statusOf('shop/root') === undefined);
    stage.ask('shop/root', privileged);
    await until('refusal', () => stage.statusOf('shop/root')?.state === 'refused');
    expect(stage.statusOf('shop/root')?.message).toMatch(/this cluster enforces baseline/);
    stage.withdraw('shop/root');
    await stage.admin.delete(GRANT_POLICY, 'default');
  });
});

describe('what this cluster puts into every namespace', () => {
  const regcred = (name: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'shop' },
    data: { password: 'eA==' },
  });
  const everyWay = (name: string, optional: boolean) => ({
    containers: [
      {
        name: 'web',
        image: 'web:1',
        env: [{ name: 'P', valueFrom: { secretKeyRef: { name, key: 'password', optional } } }],
        envFrom: [{ secretRef: { name, optional } }],
      },
    ],
    volumes: [
      { name: 'a', secret: { secretName: name, optional } },
      { name: 'b', projected: { sources: [{ secret: { name, optional } }] } },
    ],
    imagePullSecrets: [{ name }],
  });
  const foreignNames = async (pod: string): Promise<readonly string[]> =>
    JSON.stringify((await stage.pod(pod))?.spec ?? '').match(/"regcred"/g) ?? [];

  it('is never given to a pod, be it needed or optional', async () => {
    await make(stage.admin, SECRET, regcred('regcred'));
    stage.ask('shop/needs', shadow('u-needs', everyWay('regcred', false)));
    await until('a reason', () => stage.statusOf('shop/needs')?.reason === 'MissingReference');
    expect(stage.statusOf('shop/needs')?.message).toBe('waiting for Secret regcred');
    expect(await stage.pod('needs')).toBeUndefined();
    stage.ask('shop/likes', shadow('u-likes', everyWay('regcred', true)));
    await until('the pod', async () => (await stage.pod('likes')) !== undefined);
    expect(await foreignNames('likes')).toEqual([]);
  });

  it('is not in the way of home’s own object of that name, nor taken for it when that goes', async () => {
    stage.bring({
      kind: 'Secret',
      namespace: 'shop',
      name: 'regcred',
      uid: 's1',
      labels: {},
      annotations: {},
      body: { type: 'Opaque', data: { password: 'eQ==' } },
    });
    await until('the pod', async () => (await stage.pod('needs')) !== undefined);
    expect(await foreignNames('needs')).toEqual([]);
    expect((await stage.admin.get(SECRET, 'regcred.fluvia', 'shop'))?.['data']).toEqual({ password: 'eQ==' });
    expect((await stage.admin.get(SECRET, 'regcred', 'shop'))?.['data']).toEqual({ password: 'eA==' });
    stage.wishes.objects.delete('Secret/shop/regcred');
    stage.run().peer.told(OBJECTS).delete('Secret/shop/regcred');
    await until(
      'its end',
      async () => (await stage.admin.get(SECRET, 'regcred.fluvia', 'shop')) === undefined,
    );
    for (const id of ['shop/needs', 'shop/likes']) stage.withdraw(id);
    await until('the end of the pods', async () => (await stage.pod('needs')) === undefined);
  });

  it('holds the pod where it has even the name that home’s would have here', async () => {
    await make(stage.admin, SECRET, regcred('odd.fluvia'));
    stage.ask('shop/odd', shadow('u-odd', everyWay('odd', true)));
    await until('a reason', () => stage.statusOf('shop/odd')?.reason === 'ForeignReference');
    expect(stage.statusOf('shop/odd')?.message).toMatch(
      /Secret odd: the peer has another object odd\.fluvia/,
    );
    expect(await stage.pod('odd')).toBeUndefined();
    stage.withdraw('shop/odd');
  });
});

describe('a twin', () => {
  it('takes no name that this cluster keeps for itself', async () => {
    const twin = (namespace: string) => stage.run().peer.heard(TWINS).items.get(namespace);
    stage.open('vault', { mapping: 'auto', sharedWith: [] });
    await until('another name', () => twin('vault')?.twin === 'vault-home');
    expect(twin('vault')).toMatchObject({ reason: 'Renamed', ready: true });
    stage.open('monitoring', { mapping: 'same', sharedWith: [] });
    await until('a refusal', () => twin('monitoring')?.reason === 'NameReserved');
    expect(await stage.admin.get(NAMESPACE, 'monitoring')).toBeUndefined();
    await make(
      stage.admin,
      GRANT_POLICY,
      fluvia('GrantPolicy', 'default', { reservedNamespaces: ['own-*'] }),
    );
    // A policy is known a moment after it was made; until then a name is free.
    const own: string[] = [];
    await until('a refusal', async () => {
      const name = `own-${own.length}`;
      own.push(name);
      stage.open(name, { mapping: 'auto', sharedWith: [] });
      await until('an answer', () => twin(name) !== undefined);
      return twin(name)?.reason === 'NameReserved';
    });
    for (const namespace of ['vault', 'monitoring', ...own]) {
      stage.wishes.namespaces.delete(namespace);
      stage.run().peer.told(NAMESPACES).delete(namespace);
    }
    await stage.admin.delete(GRANT_POLICY, 'default');
  });
});

describe('what fills etcd', () => {
  const config = (name: string, value: string) => ({
    kind: 'ConfigMap' as const,
    namespace: 'shop',
    name,
    uid: `u-${name}`,
    labels: {},
    annotations: {},
    body: { data: { value } },
  });
  const here = async (): Promise<readonly string[]> =>
    (
      await stage.admin.list(CONFIG_MAP, { namespace: 'shop', labelSelector: 'fluvia.dev/reflected=true' })
    ).items
      .map(({ metadata }) => metadata.name)
      .toSorted();
  const twin = (namespace: string) => stage.run().peer.heard(TWINS).items.get(namespace);

  it('is refused beyond the most that a peer may hold; all else goes on', async () => {
    // Those of the tests before count: without a controller of namespaces they are going for ever.
    const twins = await stage.admin.list(NAMESPACE, { labelSelector: 'fluvia.dev/origin' });
    const most = twins.items.length + 1;
    await make(
      stage.admin,
      GRANT_POLICY,
      fluvia('GrantPolicy', 'default', {
        mostHeld: { namespaces: most, objects: 3, pods: 2, size: '64Ki' },
      }),
    );
    stage.open('second', { mapping: 'auto', sharedWith: [] });
    await until('the second', () => twin('second')?.ready === true);
    let further = 'third-0';
    for (let n = 1; twin(further)?.reason !== 'LimitExceeded' && n < 50; n += 1) {
      stage.open(further, { mapping: 'auto', sharedWith: [] });
      await until('an answer', () => twin(further) !== undefined);
      if (twin(further)?.reason !== 'LimitExceeded') further = `third-${n}`;
    }
    expect(twin(further)?.message).toContain(`the most of this consumer at the peer is ${most} namespaces`);

    stage.bring(config('large', 'x'.repeat(70_000)));
    await until('word of it', () => twin('shop')?.reason === 'LimitExceeded');
    expect(twin('shop')).toMatchObject({ ready: true, twin: 'shop' });
    expect(twin('shop')?.message).toMatch(
      /^not brought there: ConfigMap large: the most .* is 64Ki bytes in all/,
    );
    for (const name of ['a', 'b', 'c']) stage.bring(config(name, '1'));
    await until('the others', async () => (await here()).length === 3);
    stage.bring(config('d', '1'));
    stage.ask('shop/needs-d', shadow('u-d', { volumes: [{ name: 'd', configMap: { name: 'd' } }] }));
    await until('why it waits', () => stage.statusOf('shop/needs-d')?.reason === 'LimitExceeded');
    expect(stage.statusOf('shop/needs-d')?.message).toMatch(
      /^ConfigMap d is not there: the most .* is 3 objects/,
    );
    // what is there still follows home
    stage.bring(config('a', '2'));
    await until(
      'the change',
      async () =>
        JSON.stringify((await stage.admin.get(CONFIG_MAP, 'a.fluvia', 'shop'))?.['data']) === '{"value":"2"}',
    );

    stage.wishes.objects.delete('ConfigMap/shop/b');
    stage.run().peer.told(OBJECTS).delete('ConfigMap/shop/b');
    await until('room', async () => (await here()).length === 2);
    stage.bring(config('d', '1'));
    await until('the pod', async () => (await stage.pod('needs-d')) !== undefined);
    expect(await here()).toEqual(['a.fluvia', 'c.fluvia', 'd.fluvia']);
    stage.run().peer.told(OBJECTS).delete('ConfigMap/shop/large');
    await until('no more word of it', () => twin('shop')?.reason === 'Ready');
    stage.withdraw('shop/needs-d');
    await until('its end', () => stage.statusOf('shop/needs-d') === undefined);
  });

  it('is not made of pods that ended, after a restart neither', async () => {
    for (const name of ['one', 'two']) {
      stage.ask(`shop/${name}`, shadow(`u-${name}`, { restartPolicy: 'Never' }));
      await until('the pod', async () => (await stage.pod(name)) !== undefined);
      await stage.setPodStatus(name, { phase: 'Succeeded' });
      await until('its end', () => stage.statusOf(`shop/${name}`)?.status?.['phase'] === 'Succeeded');
    }
    stage.wishes.shadows.set('shop/three', shadow('u-three', { restartPolicy: 'Never' }));
    await stage.restart();
    tellAll(stage.run(), stage.wishes);
    await until('a refusal', () => stage.statusOf('shop/three')?.state === 'refused');
    expect(stage.statusOf('shop/three')).toMatchObject({ reason: 'LimitExceeded', passing: true });
    expect(stage.statusOf('shop/three')?.message).toMatch(/is 2 pods/);
    expect(await stage.pod('three')).toBeUndefined();
  });
});
