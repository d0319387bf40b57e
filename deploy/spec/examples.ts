import { NAMES } from '../../api/labels.ts';

/** An object of a kind as a person or a controller writes it, and who does. */
export interface KindExample {
  readonly writtenBy: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

const EAST = 'c7kq3v2hzt4mfx5nbw6jd2yraq';
const PIN = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
const WIREGUARD_KEY = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const CONTROLLER = 'the controller; people read it';

/** One example of each kind: shown in `docs/spec/`, checked against its schema here and against a real API server. */
export const EXAMPLES: Readonly<Record<string, KindExample>> = {
  Peer: {
    writtenBy:
      '`fluviactl peer` and `join`, the controller (status); people edit `paused`, `cordoned` and `maxViewAddresses`',
    metadata: { name: 'east' },
    spec: { clusterID: EAST, pins: [PIN], endpoints: ['198.18.0.21:30443'], roles: ['Provider'] },
  },
  Invite: {
    writtenBy: '`fluviactl invite` and `peer`; delete it to revoke the invite',
    metadata: { name: 'q7x2mzk4' },
    spec: {
      publicKey: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
      expiresAt: '2026-11-25T02:00:00Z',
      uses: 1,
      roles: ['Consumer'],
      endpoints: ['198.18.0.21:30443'],
    },
  },
  Claim: {
    writtenBy:
      'the controller makes one for each provider, named like it; people may add more or edit `resources`',
    metadata: { name: 'east' },
    spec: { peer: 'east', resources: { cpu: '8', memory: '16Gi', pods: '100' } },
  },
  Grant: {
    writtenBy: CONTROLLER,
    metadata: { name: 'home-east' },
    spec: {
      peer: 'home',
      claim: 'east',
      resources: { cpu: '1600m', memory: '16Gi', pods: '88' },
      terms: { zone: 'east', architectures: ['amd64'], operatingSystems: ['linux'] },
    },
  },
  GrantPolicy: {
    writtenBy: 'people',
    metadata: { name: 'default' },
    spec: {
      sharePercent: 50,
      maximum: { cpu: '32', memory: '64Gi' },
      podSecurity: 'restricted',
      pricePerHour: { cpu: 0.02, memory: 0.005 },
    },
  },
  VirtualNode: {
    writtenBy: 'the controller, one for each granted Claim; people edit `labels` and `cordoned`',
    metadata: { name: 'fluvia-east' },
    spec: { peer: 'east', claim: 'east', labels: { tier: 'spot' } },
  },
  NamespaceOffloading: {
    writtenBy:
      'people, `fluviactl offload namespace`, or the label `fluvia.dev/offload=true` on the namespace',
    metadata: { name: NAMES.namespaceOffloading, namespace: 'shop' },
    spec: { strategy: 'LocalAndRemote', peers: ['east', 'west'], mapping: 'auto' },
  },
  ShadowPod: {
    writtenBy: CONTROLLER,
    metadata: { name: 'web-6c9f7-x2x4z', namespace: 'shop' },
    spec: {
      home: {
        clusterID: EAST,
        namespace: 'shop',
        name: 'web-6c9f7-x2x4z',
        uid: '0d8d6f2e-2f0b-4b54-9f5e-9f3a6c0f9f10',
        node: 'fluvia-west',
      },
      grant: 'home-west',
      pod: {
        labels: { app: 'web' },
        spec: { containers: [{ name: 'web', image: 'fluvia.local/web:1' }] },
      },
    },
  },
  NetworkConfig: {
    writtenBy: '`fluviactl install` makes it; people edit `open`, the pools and the ports',
    metadata: { name: NAMES.networkConfig },
    spec: {
      podCIDRs: ['10.244.0.0/16'],
      serviceCIDRs: ['10.96.0.0/16'],
      externalCIDR: '10.70.0.0/16',
      viewPools: ['10.128.0.0/9'],
      open: [{ peers: ['east'], namespaces: ['monitoring'], ports: [{ protocol: 'TCP', port: 9090 }] }],
    },
  },
  View: {
    writtenBy: CONTROLLER,
    metadata: { name: 'east' },
    spec: {
      peer: 'east',
      clusterID: EAST,
      theirs: [{ purpose: 'Pod', real: '10.244.0.0/16', view: '10.128.0.0/16' }],
      ours: [{ purpose: 'Pod', real: '10.244.0.0/16', view: '10.129.0.0/16' }],
    },
  },
  Gateway: {
    writtenBy: "the controller (spec), the node's agent (status)",
    metadata: { name: 'home-1' },
    spec: {
      listenPort: 51820,
      peers: [
        {
          peer: 'east',
          publicKey: WIREGUARD_KEY,
          endpoints: ['198.18.0.21:51820'],
          allowedIPs: ['10.128.0.0/16'],
          probeAddress: '10.130.0.1',
        },
      ],
    },
  },
  FabricNode: {
    writtenBy: "the controller (spec), the node's agent (status)",
    metadata: { name: 'home-1' },
    spec: {
      nodeAddress: '198.18.0.11',
      podRanges: ['10.244.0.0/24'],
      externalAddress: '10.70.0.1',
      gateway: 'home-1',
    },
  },
  Offer: {
    writtenBy: 'the controller; what people open goes into the NetworkConfig',
    metadata: { name: 'east-open-0' },
    spec: {
      peer: 'east',
      addresses: [{ cidr: '10.244.0.7/32', ports: [{ protocol: 'TCP', port: 8080 }] }],
    },
  },
  FloatPolicy: {
    writtenBy: 'people',
    metadata: { name: 'default' },
    spec: { weights: { room: 30, price: 20, rtt: 20, data: 50, spread: 40 }, graceSeconds: 30 },
  },
  VolumeReplica: {
    writtenBy: 'people',
    metadata: { name: 'database', namespace: 'shop' },
    spec: { claimName: 'data-database-0', peers: ['west'], intervalSeconds: 60, keep: 10 },
  },
};
