import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { policyOfPeer } from './policy-of-peer.ts';
import { LEAST_REQUESTS, type GrantPolicy } from './v1alpha1/grant.ts';

const policy = (name: string, peers?: readonly string[]): GrantPolicy => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'GrantPolicy',
  metadata: { name },
  spec: {
    sharePercent: 80,
    podSecurity: 'baseline',
    leastRequests: LEAST_REQUESTS,
    ...(peers === undefined ? {} : { peers: [...peers] }),
  },
});

describe('policyOfPeer', () => {
  it.each([
    ['none', [], 'home', undefined],
    ['default for all', [policy('default')], 'home', 'default'],
    ['the one that names it', [policy('default'), policy('some', ['home'])], 'home', 'some'],
    ['not the one that names others', [policy('default'), policy('some', ['home'])], 'west', 'default'],
    ['the first by name', [policy('b', ['home']), policy('a', ['home'])], 'home', 'a'],
    ['a default that names it', [policy('default', ['home'])], 'home', 'default'],
    ['not a default that names others', [policy('default', ['home'])], 'west', undefined],
    ['not a default that names nobody of a list', [policy('default', [])], 'west', undefined],
    ['no other name without peers', [policy('all')], 'home', undefined],
    ['a cluster without a Peer', [policy('default'), policy('some', ['home'])], undefined, 'default'],
  ] as const)('%s', (_what, policies, peer, name) => {
    expect(policyOfPeer(policies, peer)?.metadata.name).toBe(name);
  });

  it('never is one that names only others, in whatever order they come', () => {
    const peers = fc.uniqueArray(fc.constantFrom('home', 'west', 'evil'));
    const some = fc.uniqueArray(
      fc.record({ name: fc.constantFrom('a', 'b', 'default', 'z'), peers: fc.option(peers) }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(some, fc.constantFrom('home', 'west', 'evil'), (list, peer) => {
        const policies = list.map((one) => policy(one.name, one.peers ?? undefined));
        const found = policyOfPeer(policies, peer);
        expect(found?.spec.peers?.includes(peer) ?? true).toBe(true);
        expect(policyOfPeer(policies.toReversed(), peer)).toBe(found);
      }),
    );
  });
});
