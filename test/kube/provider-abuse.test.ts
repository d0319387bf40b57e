/** What a consumer that turned hostile asks of a provider on a real API server, and what becomes of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TWINS } from '../../api/collections.ts';
import { fluviaResource, NAMESPACE } from '../../runtime/kube/resources.ts';
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
