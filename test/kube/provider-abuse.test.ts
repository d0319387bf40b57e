/** What a consumer that turned hostile asks of a provider on a real API server, and what becomes of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OBJECTS, TWINS } from '../../api/collections.ts';
import { fluviaResource, NAMESPACE, SECRET } from '../../runtime/kube/resources.ts';
import type { Namespace } from '../../runtime/kube/types.ts';
import { make } from './provider-setup.ts';
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
