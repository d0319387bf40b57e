import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arbitraryFabric, testConfig, testNode } from './fabric.fake.ts';
import type { HostState } from './host-state.ts';
import { applyToFake, emptyHost } from './host.fake.ts';
import { TUNNEL_DEVICE, VXLAN_DEVICE } from './names.ts';
import { planHost, type HostAction } from './plan-host.ts';
import { planNode, type FabricObjects } from './plan-node.ts';

const NODE = 'node0';
const memory = { announced: new Map<string, string>(), nowSeconds: 0 };
const start = emptyHost('198.18.0.10');

const plan = (host: HostState, objects: FabricObjects): HostAction[] =>
  planHost(host, planNode(objects, NODE), memory);
const run = (host: HostState, actions: readonly HostAction[]): HostState => actions.reduce(applyToFake, host);
const settle = (host: HostState, objects: FabricObjects): HostState => run(host, plan(host, objects));

const nothing: FabricObjects = { config: undefined, views: [], gateways: [], fabricNodes: [], offers: [] };

describe('planHost', () => {
  it('converges: nothing is left to do after its actions', () => {
    fc.assert(
      fc.property(arbitraryFabric, arbitraryFabric, (first, second) => {
        const one = settle(start, first);
        expect(plan(one, first)).toEqual([]);
        const two = settle(one, second);
        expect(plan(two, second)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('converges from every prefix of its actions', () => {
    fc.assert(
      fc.property(arbitraryFabric, arbitraryFabric, fc.nat(), (first, second, cut) => {
        const one = settle(start, first);
        const actions = plan(one, second);
        const half = run(one, actions.slice(0, cut % (actions.length + 1)));
        expect(plan(settle(half, second), second)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('never has a route that carries to a view without the drop and the unreachable route behind it', () => {
    fc.assert(
      fc.property(arbitraryFabric, arbitraryFabric, (first, second) => {
        let host = settle(start, first);
        for (const action of plan(host, second)) {
          host = applyToFake(host, action);
          const views = host.nft?.sets.find((set) => set.name === 'views')?.elements ?? [];
          const carrying = host.routes.filter((route) => route.type === 'unicast' && route.table === 'main');
          for (const route of carrying.filter((item) => item.source !== undefined)) {
            const isBacked = host.routes.some(
              (other) => other.type === 'unreachable' && other.destination === route.destination,
            );
            expect(isBacked, `unreachable behind ${route.destination} after ${action.kind}`).toBe(true);
            expect(host.nft, `table after ${action.kind}`).toBeDefined();
            expect(views).toContain(route.destination);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('leaves nothing of its own when Fluvia goes', () => {
    fc.assert(
      fc.property(arbitraryFabric, (objects) => {
        expect(settle(settle(start, objects), nothing)).toEqual(start);
      }),
      { numRuns: 100 },
    );
  });

  it('makes the VXLAN device anew when its underlay address changed', () => {
    const objects: FabricObjects = {
      ...nothing,
      config: testConfig(),
      fabricNodes: [testNode(NODE, 0, NODE, true)],
    };
    const host = settle(start, objects);
    const moved = {
      ...objects,
      fabricNodes: [
        {
          ...testNode(NODE, 0, NODE, true),
          spec: { ...testNode(NODE, 0, NODE, true).spec, nodeAddress: '198.18.0.99' },
        },
      ],
    };
    const kinds = plan(host, moved).map((action) => action.kind);
    expect(kinds).toEqual(['link-delete', 'vxlan-add', 'link-set', 'sysctl', 'address-add']);
    expect(plan(settle(host, moved), moved)).toEqual([]);
  });

  it('stops the tunnel when another node became the gateway', () => {
    const gateway = {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'Gateway',
      metadata: { name: NODE },
      spec: { listenPort: 51820, peers: [] },
    };
    const objects: FabricObjects = {
      ...nothing,
      config: testConfig(),
      gateways: [gateway],
      fabricNodes: [testNode(NODE, 0, NODE, true), testNode('node1', 1, NODE, true)],
    };
    const host = settle(start, objects);
    expect(host.links.map((link) => link.name)).toEqual(['eth0', VXLAN_DEVICE, TUNNEL_DEVICE]);
    const moved = {
      ...objects,
      fabricNodes: [testNode(NODE, 0, 'node1', true), testNode('node1', 1, 'node1', true)],
    };
    const after = settle(host, moved);
    expect(after.links.map((link) => link.name)).toEqual(['eth0', VXLAN_DEVICE]);
    expect(after.isTunnelWanted).toBe(false);
  });
});
