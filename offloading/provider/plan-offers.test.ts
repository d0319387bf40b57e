import { describe, expect, it } from 'vitest';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import { planOffers } from './plan-offers.ts';
import { isEnforced } from './plan-open-address.ts';

const HOME = 'h'.repeat(26);
const THIRD = 't'.repeat(26);
const offer = (name: string, peer: string, addresses: readonly string[], generation = 1): Offer => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Offer',
  metadata: { name, generation, labels: { 'fluvia.dev/peer': peer, 'fluvia.dev/offer-source': 'shadows' } },
  spec: { peer, addresses: addresses.map((one) => ({ cidr: `${one}/32` })) },
});
const shadows = [
  { address: '10.244.0.2', clusters: [HOME] },
  { address: '10.244.0.1', clusters: [HOME, THIRD] },
  { address: '10.244.0.3', clusters: [THIRD] },
];

describe('planOffers', () => {
  it('offers to the consumer and to those it shares with, and to no one else', () => {
    const changes = planOffers({ name: 'home', clusterID: HOME }, 'home', shadows, []);
    expect(changes).toMatchObject({
      create: [
        {
          metadata: {
            name: 'home-shadows-0',
            labels: { 'fluvia.dev/peer': 'home', 'fluvia.dev/offer-source': 'shadows' },
          },
          spec: { peer: 'home', addresses: [{ cidr: '10.244.0.1/32' }, { cidr: '10.244.0.2/32' }] },
        },
      ],
      update: [],
      remove: [],
    });
  });

  it('changes only what differs and leaves others’ Offers alone', () => {
    const foreign = {
      ...offer('home-open-0', 'home', ['10.0.0.1']),
      metadata: { name: 'home-open-0', labels: { 'fluvia.dev/offer-source': 'open' } },
    };
    const right = offer('home-shadows-0', 'home', ['10.244.0.1', '10.244.0.2']);
    const peer = { name: 'home', clusterID: HOME };
    expect(planOffers(peer, 'home', shadows, [right, foreign])).toEqual({
      create: [],
      update: [],
      remove: [],
    });
    const stale = offer('home-shadows-0', 'home', ['10.244.0.2', '10.244.0.9']);
    expect(planOffers(peer, 'home', shadows, [stale]).update[0]?.spec.addresses).toEqual([
      { cidr: '10.244.0.2/32' },
      { cidr: '10.244.0.1/32' },
    ]);
  });

  it('takes all back when the peer is gone', () => {
    const mine = offer('home-shadows-0', 'home', ['10.244.0.1']);
    expect(planOffers(undefined, 'home', shadows, [mine]).remove).toEqual([mine]);
  });
});

describe('isEnforced', () => {
  const now = Date.parse('2026-11-25T01:00:30Z');
  const node = (
    name: string,
    gateway: string,
    acknowledged: number,
    heartbeatAt = '2026-11-25T01:00:20Z',
  ): FabricNode => ({
    apiVersion: 'fluvia.dev/v1alpha1',
    kind: 'FabricNode',
    metadata: { name },
    spec: { nodeAddress: '198.18.0.2', podRanges: [], externalAddress: '10.70.0.1', gateway },
    status: { heartbeatAt, acknowledgedOffers: { o: acknowledged } },
  });
  const offers = [offer('o', 'home', ['10.244.0.1'], 2)];

  it.each<[string, readonly FabricNode[], boolean]>([
    ['no gateway', [], false],
    ['an older generation', [node('a', 'a', 1)], false],
    ['this generation', [node('a', 'a', 2)], true],
    ['a later one', [node('a', 'a', 3)], true],
    ['two gateways, one behind', [node('a', 'b', 2), node('b', 'a', 1)], false],
    ['a node behind that is no gateway', [node('a', 'a', 2), node('b', 'a', 0)], true],
    [
      'a gateway behind whose agent is silent',
      [node('a', 'b', 2), node('b', 'a', 1, '2026-11-25T00:59:00Z')],
      true,
    ],
    ['only silent gateways', [node('a', 'a', 2, '2026-11-25T00:59:00Z')], false],
  ])('%s', (_, nodes, open) => {
    expect(isEnforced(offers, nodes, now)).toBe(open);
  });

  it('needs an Offer', () => {
    expect(isEnforced([], [node('a', 'a', 2)], now)).toBe(false);
  });
});
