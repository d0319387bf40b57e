import { describe, expect, it } from 'vitest';
import type { WgDeviceState, WgPeerState } from '../runtime/host/wg.ts';
import { planWireguard } from './plan-wireguard.ts';

const KEY = 'k1';
const peer = (over: Partial<WgPeerState> = {}): WgPeerState => ({
  publicKey: KEY,
  endpoint: '203.0.113.1:51820',
  allowedIPs: ['10.61.0.0/16'],
  latestHandshake: 1000,
  rxBytes: 0,
  txBytes: 0,
  persistentKeepalive: 25,
  ...over,
});
const device = (...peers: readonly WgPeerState[]): WgDeviceState => ({
  name: 'fluvia0',
  publicKey: 'own',
  listenPort: 51820,
  peers,
});
const wanted = (endpoints: readonly string[] = ['203.0.113.1:51820']) => ({
  listenPort: 51820,
  peers: [{ peer: 'b', publicKey: KEY, endpoints: [...endpoints], allowedIPs: ['10.61.0.0/16'] }],
});
const memory = (announced: string | undefined, nowSeconds = 1010) => ({
  announced: new Map(announced === undefined ? [] : [[KEY, announced]]),
  nowSeconds,
});

describe('planWireguard', () => {
  it('does nothing when nothing differs', () => {
    expect(planWireguard(device(peer()), wanted(), memory('203.0.113.1:51820'))).toBeUndefined();
  });

  it('sets everything of a new peer', () => {
    expect(planWireguard(undefined, wanted(), memory(undefined))).toEqual({
      device: 'fluvia0',
      listenPort: 51820,
      peers: [
        {
          publicKey: KEY,
          endpoint: '203.0.113.1:51820',
          allowedIPs: ['10.61.0.0/16'],
          persistentKeepalive: 25,
        },
      ],
    });
  });

  it('leaves a learned endpoint while the session lives and the announced one is the same', () => {
    const roamed = device(peer({ endpoint: '198.51.100.7:4000' }));
    expect(planWireguard(roamed, wanted(), memory('203.0.113.1:51820'))).toBeUndefined();
    expect(planWireguard(roamed, wanted(), memory(undefined))).toBeUndefined();
  });

  it('sets the endpoint when the announced one changed', () => {
    const change = planWireguard(device(peer()), wanted(['203.0.113.9:51820']), memory('203.0.113.1:51820'));
    expect(change?.peers).toEqual([{ publicKey: KEY, endpoint: '203.0.113.9:51820' }]);
  });

  it('takes turns through several endpoints while there is no handshake', () => {
    const two = ['203.0.113.1:51820', '203.0.113.2:51820'];
    const dead = device(peer({ latestHandshake: 0 }));
    const at = (seconds: number) =>
      planWireguard(dead, wanted(two), memory(two.join(' '), seconds))?.peers[0]?.endpoint;
    expect(at(30)).toBeUndefined();
    expect(at(45)).toBe('203.0.113.2:51820');
  });

  it('removes unknown peers first, since their allowed IPs may be taken over', () => {
    const change = planWireguard(device(peer({ publicKey: 'old' })), wanted(), memory(undefined));
    expect(change?.peers.map((item) => [item.publicKey, item.remove ?? false])).toEqual([
      ['old', true],
      [KEY, false],
    ]);
  });
});
