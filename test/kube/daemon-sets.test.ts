import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { daemonSetPolicies } from '../../deploy/manifests/daemon-sets.ts';
import { refOf } from '../../deploy/manifests/refs.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { DAEMON_SET } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { waitUntil } from './home-objects.ts';

/** The policy that keeps DaemonSets off virtual nodes, in a real API server. */

interface DaemonSet extends KubeObject {
  readonly spec: {
    readonly selector: object;
    readonly template: {
      readonly metadata: object;
      readonly spec: { readonly affinity?: unknown; readonly containers: readonly object[] };
    };
  };
}

let server: TestApiServer;
let client: KubeClient;

const EVERYTHING = [{ operator: 'Exists' }];
const NOT_VIRTUAL = { key: 'fluvia.dev/virtual-node', operator: 'DoesNotExist' };
const LINUX = { key: 'kubernetes.io/os', operator: 'In', values: ['linux'] };
const FIRST = { key: 'metadata.name', operator: 'In', values: ['node-1'] };
const required = (...nodeSelectorTerms: readonly object[]): object => ({
  requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms },
});
const manifest = (name: string, spec: object): DaemonSet => ({
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name, namespace: 'default' },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'c', image: 'x' }], ...spec },
    },
  },
});
/** The affinity with which the API server would store it. */
const affinityOf = async (spec: object): Promise<unknown> =>
  (await client.create<DaemonSet>(DAEMON_SET, manifest('probe', spec), { dryRun: true })).spec.template.spec
    .affinity;

beforeAll(async () => {
  server = await startApiServer();
  client = createKubeClient(server.access);
  await client.create<DaemonSet>(DAEMON_SET, manifest('older', { tolerations: EVERYTHING }));
  for (const object of daemonSetPolicies) {
    await client.apply(refOf(object), object, { fieldManager: 'test' });
  }
  // policies are in force a moment after they are written
  await waitUntil('the policy', async () => (await affinityOf({ tolerations: EVERYTHING })) !== undefined);
}, 120_000);
afterAll(async () => {
  await client?.close();
  await server?.stop();
});

describe('a DaemonSet that tolerates everything', () => {
  it('gets the affinity, whatever it had', async () => {
    const kept = { nodeAffinity: required({ matchExpressions: [NOT_VIRTUAL] }) };
    const preferred = [{ weight: 1, preference: { matchExpressions: [LINUX] } }];
    const podAntiAffinity = {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, podAffinityTerm: { topologyKey: 'kubernetes.io/hostname' } },
      ],
    };
    const of = (affinity?: object): Promise<unknown> => affinityOf({ tolerations: EVERYTHING, affinity });
    expect(await of()).toEqual(kept);
    expect(await of({ podAntiAffinity })).toEqual({ ...kept, podAntiAffinity });
    expect(
      await of({ nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred } }),
    ).toMatchObject({
      nodeAffinity: { ...kept.nodeAffinity, preferredDuringSchedulingIgnoredDuringExecution: preferred },
    });
    // terms are alternatives: each gets it
    expect(
      await of({ nodeAffinity: required({ matchExpressions: [LINUX] }, { matchFields: [FIRST] }) }),
    ).toEqual({
      nodeAffinity: required(
        { matchExpressions: [LINUX, NOT_VIRTUAL] },
        { matchExpressions: [NOT_VIRTUAL], matchFields: [FIRST] },
      ),
    });
  });

  it('also when only of effect NoSchedule, the taint’s', async () => {
    expect(await affinityOf({ tolerations: [{ operator: 'Exists', effect: 'NoSchedule' }] })).toBeDefined();
  });

  it('is left alone when it says itself what it wants of virtual nodes', async () => {
    const nodeAffinity = required({
      matchExpressions: [{ key: 'fluvia.dev/virtual-node', operator: 'Exists' }],
    });
    expect(await affinityOf({ tolerations: EVERYTHING, affinity: { nodeAffinity } })).toEqual({
      nodeAffinity,
    });
  });

  it('that exists is not restarted by a change of something else, and kept off with its next template', async () => {
    const label = { metadata: { labels: { x: 'y' } } };
    const labelled = await client.patch<DaemonSet>(DAEMON_SET, 'older', 'default', label, { type: 'merge' });
    expect(labelled.metadata.generation).toBe(1);
    expect(labelled.spec.template.spec.affinity).toBeUndefined();
    const restart = {
      spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': 'now' } } } },
    };
    const restarted = await client.patch<DaemonSet>(DAEMON_SET, 'older', 'default', restart, {
      type: 'merge',
    });
    expect(restarted.spec.template.spec.affinity).toEqual({
      nodeAffinity: required({ matchExpressions: [NOT_VIRTUAL] }),
    });
  });

  it('applied again as its owner has it changes nothing, so no pod restarts', async () => {
    const own = manifest('owned', { tolerations: EVERYTHING });
    const options = { fieldManager: 'gitops', force: true };
    const first = await client.apply<DaemonSet>(DAEMON_SET, own, options);
    const second = await client.apply<DaemonSet>(DAEMON_SET, own, options);
    expect(first.spec.template.spec.affinity).toBeDefined();
    expect(second.metadata.generation).toBe(1);
    expect(second.spec).toEqual(first.spec);
  });
});

describe('any other DaemonSet', () => {
  it.each([
    ['tolerates nothing', undefined],
    ['tolerates one key', [{ key: 'node-role', operator: 'Exists' }]],
    ['tolerates only being evicted', [{ operator: 'Exists', effect: 'NoExecute' }]],
  ])('that %s is left alone', async (_, tolerations) => {
    expect(await affinityOf({ tolerations })).toBeUndefined();
  });
});
