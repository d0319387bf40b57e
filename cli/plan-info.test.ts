import { describe, expect, it } from 'vitest';
import type { Condition } from '../api/conditions.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import { formatTree } from './output/tree.ts';
import { peeringProgress, sideTrouble } from './peer-progress.ts';
import { infoTree, planInfo, problemsOf, type InfoWorld } from './plan-info.ts';
import { uninstallObstacle } from './plan-uninstall.ts';
import { nodesTrouble, podTrouble } from './rollout.ts';

const condition = (type: string, status: Condition['status'] = 'True', message = 'fine'): Condition => ({
  type,
  status,
  reason: 'R',
  message,
  lastTransitionTime: 't',
});
const object = (kind: string, name: string) => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind,
  metadata: { name },
});

const peer: Peer = {
  ...object('Peer', 'east'),
  spec: {
    clusterID: 'a'.repeat(26),
    pins: ['b'.repeat(64)],
    endpoints: [],
    roles: ['Provider'],
    paused: false,
    cordoned: false,
  },
  status: {
    link: { state: 'Up', since: 't', rttMilliseconds: 1.25 },
    fingerprint: 'abcd-efgh',
    conditions: [condition('Ready'), condition('NetworkReady')],
  },
};
const claim: Claim = {
  ...object('Claim', 'east'),
  spec: { peer: 'east' },
  status: { granted: { cpu: '1600m', memory: '2Gi', pods: '110' }, conditions: [condition('Granted')] },
};
const node: VirtualNode = {
  ...object('VirtualNode', 'fluvia-east'),
  spec: { peer: 'east', claim: 'east', cordoned: false },
  status: { conditions: [condition('Ready')] },
};
const world: InfoWorld = {
  installation: {
    clusterName: 'home',
    image: 'fluvia:1',
    controllers: 2,
    controllersReady: 2,
    agents: 1,
    agentsReady: 1,
  },
  kubernetes: 'v1.37.2',
  networkConfig: {
    ...object('NetworkConfig', 'default'),
    spec: {
      podCIDRs: ['10.244.0.0/16'],
      serviceCIDRs: [],
      externalCIDR: '10.70.0.0/16',
      viewPools: [],
      reservedCIDRs: [],
      wireguardPort: 1,
      vxlanPort: 2,
      open: [],
    },
    status: { gateway: 'home-1', conditions: [condition('Ready')] },
  },
  fabricNodes: [],
  gateways: [],
  peers: [peer],
  claims: [claim],
  grants: [],
  views: [],
  virtualNodes: [node],
  offloadings: [],
  volumeClaims: [],
  volumes: [],
  volumeReplicas: [],
  podsByNode: new Map([['fluvia-east', 3]]),
  nowMs: Date.parse('2026-01-01T00:01:30Z'),
};

describe('info', () => {
  it('shows people what matters of a peer', () => {
    const text = formatTree(infoTree(planInfo(world)));
    expect(text).toContain('✓ east (Provider)');
    expect(text).toContain('link Up, RTT 1.3 ms, fingerprint abcd-efgh');
    expect(text).toContain('✓ node fluvia-east, cpu 1.6, memory 2.0 GiB, pods 110; 3 pods of ours there');
    expect(text).toContain('no open namespaces');
  });

  it('finds no problem in a healthy cluster, and names each one in a sick one', () => {
    expect(problemsOf(planInfo(world))).toEqual([]);
    const sick: InfoWorld = {
      ...world,
      installation: { ...world.installation, agentsReady: 0 },
      peers: [
        {
          ...peer,
          status: {
            link: { state: 'Down', since: 't' },
            conditions: [condition('Ready', 'False', 'silent')],
          },
        },
      ],
    };
    expect(problemsOf(planInfo(sick))).toEqual([
      'agents: 0 of 1 agents ready',
      'peer east: the link is down',
      'peer east: silent',
      'peer east, network: nothing is said of NetworkReady yet',
    ]);
  });
});

describe('nodes', () => {
  const fabricNode = (name: string, ready: Condition | undefined, heartbeatAt: string): FabricNode => ({
    ...object('FabricNode', name),
    spec: { nodeAddress: '192.0.2.1', podRanges: [], externalAddress: '10.70.0.1' },
    status: { heartbeatAt, conditions: ready === undefined ? [] : [ready] },
  });
  const noNft = condition('Ready', 'False', 'nft is not installed on this node');
  const nodes = [
    fabricNode('a', condition('Ready'), '2026-01-01T00:01:00Z'),
    fabricNode('b', noNft, '2026-01-01T00:01:20Z'),
    fabricNode('c', condition('Ready'), '2026-01-01T00:00:10Z'),
  ];

  it('that an agent can’t serve, or whose agent is silent, are problems, and people see them in the tree', () => {
    const info = planInfo({ ...world, fabricNodes: nodes });
    expect(problemsOf(info)).toEqual([
      'node b: nft is not installed on this node',
      'node c: its agent has said nothing since 2026-01-01T00:00:10Z',
    ]);
    expect(formatTree(infoTree(info))).toContain('✗ node b: nft is not installed on this node');
  });

  it('are named by install --wait until each is served', () => {
    expect(nodesTrouble(nodes, 3)).toBe('node b: nft is not installed on this node');
    expect(nodesTrouble([fabricNode('d', undefined, '')], 1)).toBe('node d: its agent has not reported yet');
    expect(nodesTrouble(nodes.slice(0, 1), 2)).toBe('1 of 2 nodes are not known yet');
    expect(nodesTrouble(nodes.slice(0, 1), 1)).toBeUndefined();
  });
});

describe('the progress of a peering', () => {
  const side = { cluster: 'home', peer, claims: [claim], virtualNodes: [node] };

  it('is done when link, network, grant and node stand', () => {
    expect(peeringProgress([side, side])).toEqual({ done: undefined });
  });

  it.each([
    ['no Peer', { ...side, peer: undefined }, 'home: no Peer yet'],
    ['no link', { ...side, peer: { ...peer, status: {} } }, 'home: the link is not up yet'],
    ['no grant', { ...side, claims: [] }, 'home: Granted is not said yet'],
    ['no node', { ...side, virtualNodes: [] }, 'home: virtual node  Ready is not said yet'],
  ])('says what is missing: %s', (_, given, text) => {
    expect(sideTrouble(given)).toBe(text);
  });

  it('asks no capacity of a peer that only sends pods', () => {
    const consumer: Peer = { ...peer, spec: { ...peer.spec, roles: ['Consumer'] } };
    expect(sideTrouble({ ...side, peer: consumer, claims: [], virtualNodes: [] })).toBeUndefined();
  });
});

describe('uninstalling', () => {
  it.each([
    [
      'open namespaces',
      { peers: ['east'], openNamespaces: ['shop'], twins: [] },
      /open to peers: shop/,
      /unoffload namespace shop --kubeconfig x/,
    ],
    [
      'peers',
      { peers: ['a', 'b', 'c', 'd'], openNamespaces: [], twins: [] },
      /peers: a, b, c and 1 more/,
      /unpeer a --kubeconfig x/,
    ],
    [
      'twins',
      { peers: [], openNamespaces: [], twins: ['shop'] },
      /former peers: shop/,
      /kubectl delete namespace shop/,
    ],
  ])('is refused while there are %s', (_, remains, message, hint) => {
    const error = uninstallObstacle(remains, ' --kubeconfig x');
    expect(error?.message).toMatch(message);
    expect(error?.hint).toMatch(hint);
  });

  it('goes on when nothing remains', () => {
    expect(uninstallObstacle({ peers: [], openNamespaces: [], twins: [] }, '')).toBeUndefined();
  });
});

describe('the trouble of a pod', () => {
  const pod = (status: object) => ({ metadata: { name: 'p' }, spec: {}, status });

  it.each([
    ['none when Ready', { conditions: [{ type: 'Ready', status: 'True' }] }, undefined],
    [
      'no node',
      { conditions: [{ type: 'PodScheduled', status: 'False', message: '0/1 nodes' }] },
      "can't be scheduled: 0/1 nodes",
    ],
    [
      'no image',
      { containerStatuses: [{ state: { waiting: { reason: 'ErrImagePull' } } }] },
      'ErrImagePull: is the image on the node or in a registry?',
    ],
    [
      'a crash',
      { containerStatuses: [{ state: { terminated: { reason: 'Error', exitCode: 1 } } }] },
      'ended with Error (exit 1)',
    ],
    ['nothing yet', {}, 'starting'],
  ])('is %s', (_, status, text) => {
    expect(podTrouble(pod(status))).toBe(text);
  });
});
