import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { KINDS } from '../../api/v1alpha1/kinds.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { EXAMPLES } from '../../deploy/spec/examples.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { ApiError, isAlreadyExists } from '../../runtime/kube/errors.ts';
import { CRD, NAMESPACE } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { runIn, type CliOutcome } from './run-cli.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';

/** `fluviactl install` and `uninstall` against a real API server, and whether it agrees with the schemas in `api/`. */

let server: TestApiServer;
let client: KubeClient;

const cli = (...argv: readonly string[]): Promise<CliOutcome> => runIn(server.kubeconfig, argv);

const FLAGS = [
  '--cluster-name',
  'home',
  '--image',
  'fluvia.local/fluvia:test',
  '--pod-cidr',
  '10.244.0.0/16',
  '--no-wait',
];

const example = (kind: string, spec?: unknown): KubeObject => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind,
  metadata: { ...(EXAMPLES[kind]?.metadata ?? { name: 'x' }) },
  spec: spec ?? EXAMPLES[kind]?.spec,
});

const kindNamed = (name: string): (typeof KINDS)[number] => {
  const found = KINDS.find((k) => k.kind === name);
  if (found === undefined) throw new Error(`no kind ${name}`);
  return found;
};

/** Whether the API server would store it. */
const accepts = async (kind: string, spec: unknown): Promise<boolean> => {
  const object = example(kind, spec);
  const { namespace } = object.metadata;
  const manifest = {
    ...object,
    metadata: { ...object.metadata, ...(namespace === undefined ? {} : { namespace: 'default' }) },
  };
  try {
    await client.create(fluviaRef(kind), manifest, { dryRun: true });
    return true;
  } catch (error) {
    // it exists already: that is found out after validation
    if (isAlreadyExists(error)) {
      return true;
    }
    if (error instanceof ApiError && (error.status === 422 || error.status === 400)) {
      return false;
    }
    throw error;
  }
};

/** What is in the cluster beside what Kubernetes itself makes. */
const ours = async (): Promise<string[]> => {
  const paths = [
    '/api/v1/namespaces',
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
    '/apis/rbac.authorization.k8s.io/v1/clusterroles',
    '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
    '/apis/rbac.authorization.k8s.io/v1/roles',
    '/apis/rbac.authorization.k8s.io/v1/rolebindings',
    '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
    '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies',
    '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings',
    '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
    '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
  ];
  const lists = await Promise.all(
    paths.map((path) => client.request<{ items: readonly KubeObject[] }>('GET', path)),
  );
  return lists.flatMap((list, i) =>
    list.items
      .filter((o) => /fluvia/.test(o.metadata.name))
      .map((o) => `${paths[i]?.split('/').at(-1) ?? ''}/${o.metadata.name}`),
  );
};

beforeAll(async () => {
  server = await startControlPlane();
  client = createKubeClient(server.access);
});
afterAll(async () => {
  await client.close();
  await server.stop();
});

describe('fluviactl install', () => {
  it('prints the manifest with --dry-run and changes nothing', async () => {
    const { code, out } = await cli('install', ...FLAGS, '--dry-run');
    expect(code).toBe(0);
    expect(out.split('\n---\n').length).toBeGreaterThan(30);
    expect(await ours()).toEqual([]);
  });

  it('says which flag helps when the pod range is unknown', async () => {
    const { code, err } = await cli('install', '--cluster-name', 'home', '--image', 'x');
    expect(code).toBe(2);
    expect(err).toContain('Next:  give it: --pod-cidr');
    expect(await ours()).toEqual([]);
  });

  it('installs, and again without any change', async () => {
    const first = await cli('install', ...FLAGS);
    expect(first.err).not.toContain('Error');
    expect(first.code).toBe(0);
    const versions = async (): Promise<string[]> =>
      (await client.list(CRD)).items.map((crd) => `${crd.metadata.name} ${crd.metadata.generation ?? 0}`);
    const before = await versions();
    expect((await cli('install', '--no-wait')).code).toBe(0);
    expect(await versions()).toEqual(before);
  });

  it('keeps what people set when it upgrades', async () => {
    const spec = { open: [{ namespaces: ['monitoring'] }], viewPools: ['100.64.0.0/10'] };
    await client.patch(fluviaRef('NetworkConfig'), 'default', undefined, { spec }, { type: 'merge' });
    expect((await cli('install', '--no-wait')).code).toBe(0);
    expect(await client.get(fluviaRef('NetworkConfig'), 'default')).toMatchObject({ spec });
  });

  it('tells of a cluster that is installed but not well: exit code 3', async () => {
    const { code, out } = await cli('status');
    expect(code).toBe(3);
    expect(out).toContain('controllers: 0 of 2 controllers ready');
  });
});

describe('the kinds on a real API server', () => {
  it('have structural schemas', async () => {
    const { items } = await client.list<
      KubeObject & { status: { conditions: { type: string; status: string }[] } }
    >(CRD);
    expect(items).toHaveLength(KINDS.length);
    for (const { status } of items) {
      expect(status.conditions.filter((c) => c.type === 'NonStructuralSchema')).toEqual([]);
      expect(status.conditions.find((c) => c.type === 'Established')?.status).toBe('True');
    }
  });

  it.each(KINDS.map((k) => k.kind))('%s: the example of its page is accepted', async (kind) => {
    expect(await accepts(kind, EXAMPLES[kind]?.spec)).toBe(true);
  });

  it('accept and refuse what the schemas in api/ do, for mutated examples of every kind', async () => {
    const junk = fc.constantFrom<unknown>(
      '',
      'a b',
      '10.0.0.0/40',
      -1,
      99_999,
      1.5,
      true,
      [],
      ['x'],
      {},
      { a: 1 },
      'UPPER',
      'x'.repeat(300),
    );
    const kinds = fc.constantFrom(...KINDS.map((k) => k.kind));
    const cases = fc.tuple(kinds, fc.nat(30), junk, fc.boolean());
    await fc.assert(
      fc.asyncProperty(cases, async ([name, which, value, isDropped]) => {
        const kind = kindNamed(name);
        const fields = Object.keys((kind.spec as z.ZodObject).shape);
        const field = fields[which % fields.length] ?? '';
        const spec: Record<string, unknown> = { ...EXAMPLES[kind.kind]?.spec };
        delete spec[field];
        const mutated = isDropped ? spec : { ...spec, [field]: value };
        const here = kind.spec.safeParse(mutated).success;
        expect([kind.kind, field, value, await accepts(kind.kind, mutated)]).toEqual([
          kind.kind,
          field,
          value,
          here,
        ]);
      }),
      { numRuns: 250, seed: 4 },
    );
  });

  it('hold what must not change, and names that are fixed', async () => {
    const peer = fluviaRef('Peer');
    await client.create(peer, example('Peer'));
    const change = { spec: { clusterID: 'b'.repeat(26) } };
    await expect(client.patch(peer, 'east', undefined, change, { type: 'merge' })).rejects.toThrow(
      'clusterID is immutable',
    );
    await client.delete(peer, 'east');
    const second = { ...example('NetworkConfig'), metadata: { name: 'second' } };
    await expect(client.create(fluviaRef('NetworkConfig'), second)).rejects.toThrow(
      'there is one NetworkConfig',
    );
  });
});

describe('admission policies', () => {
  const asAgent = (node: string | undefined): KubeClient =>
    createKubeClient({
      ...server.access,
      impersonate: {
        user: 'system:serviceaccount:fluvia-system:fluvia-agent',
        ...(node === undefined ? {} : {}),
      },
    });

  it('refuse an agent without a node claim, whatever RBAC says', async () => {
    const node = fluviaRef('FabricNode');
    await client.create(node, example('FabricNode'));
    const agent = asAgent(undefined);
    const write = (): Promise<unknown> =>
      agent.apply(
        node,
        {
          ...example('FabricNode'),
          spec: undefined,
          status: { heartbeatAt: 'now' },
        } as unknown as KubeObject,
        { fieldManager: 'a', subresource: 'status', force: true },
      );
    await expect(write()).rejects.toThrow("its token's node");
    await agent.close();
    await client.delete(node, 'home-1');
  });

  it("let an agent's token write its own node's status only", async () => {
    const node = fluviaRef('FabricNode');
    const names = ['node-a', 'node-b'];
    for (const name of names) {
      await client.create(node, { ...example('FabricNode'), metadata: { name } });
    }
    const headers = (name: string) => ({
      'impersonate-user': 'system:serviceaccount:fluvia-system:fluvia-agent',
      'impersonate-extra-authentication.kubernetes.io%2fnode-name': name,
      'content-type': 'application/merge-patch+json',
    });
    const patch = (name: string, body: object, subresource = '/status'): Promise<unknown> =>
      client.request(
        'PATCH',
        `/apis/fluvia.dev/v1alpha1/fabricnodes/${name}${subresource}`,
        body,
        headers('node-a'),
      );
    await patch('node-a', { status: { heartbeatAt: 'now' } });
    await expect(patch('node-b', { status: { heartbeatAt: 'now' } })).rejects.toThrow("its token's node");
    await expect(patch('node-a', { spec: { nodeAddress: '1.2.3.4' } }, '')).rejects.toThrow(
      'the spec is the controller',
    );
    await patch('node-a', { metadata: { finalizers: null } }, '');
    await expect(
      client.request('DELETE', '/apis/fluvia.dev/v1alpha1/fabricnodes/node-a', undefined, headers('node-a')),
    ).rejects.toThrow('403');
    for (const name of names) {
      await client.delete(node, name);
    }
  });

  it('let the controller make and remove twins, and touch no other namespace beyond its label', async () => {
    const controller = createKubeClient({
      ...server.access,
      impersonate: { user: 'system:serviceaccount:fluvia-system:fluvia-controller' },
    });
    const namespace = (name: string, labels: Record<string, string> = {}): KubeObject => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
    });
    await expect(controller.create(NAMESPACE, namespace('foreign'))).rejects.toThrow('only twin namespaces');
    await controller.create(
      NAMESPACE,
      namespace('twin', { 'fluvia.dev/origin': 'x', 'pod-security.kubernetes.io/enforce': 'baseline' }),
    );
    await client.create(NAMESPACE, namespace('plain'));
    await expect(controller.delete(NAMESPACE, 'plain')).rejects.toThrow('only twin namespaces');
    const label = (labels: object): Promise<unknown> =>
      controller.patch(NAMESPACE, 'default', undefined, { metadata: { labels } }, { type: 'merge' });
    await label({ 'fluvia.dev/strategy': 'local' });
    const baseline = { 'pod-security.kubernetes.io/enforce': 'baseline' };
    await expect(label({ 'fluvia.dev/origin': 'x', ...baseline })).rejects.toThrow(
      'never turns an existing namespace into a twin',
    );
    await label({ 'fluvia.dev/strategy': null });
    await expect(label({ 'pod-security.kubernetes.io/enforce': 'privileged' })).rejects.toThrow(
      'only its own labels',
    );
    const origin = { metadata: { labels: { 'fluvia.dev/origin': 'y' } } };
    await expect(controller.patch(NAMESPACE, 'twin', undefined, origin, { type: 'merge' })).rejects.toThrow(
      'nor a twin into another',
    );
    const binding = (in_: string, role: string, account = 'x', of = 'fluvia-peers'): Promise<unknown> =>
      controller.request('POST', `/apis/rbac.authorization.k8s.io/v1/namespaces/${in_}/rolebindings`, {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        metadata: { name: 'fluvia-peering' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'ServiceAccount', name: account, namespace: of }],
      });
    await expect(binding('default', 'fluvia-peering')).rejects.toThrow('only in twin namespaces');
    await expect(binding('twin', 'view')).rejects.toThrow('403');
    // another peering's account, or one that is no peering's, gets nothing in this twin
    await expect(binding('twin', 'fluvia-peering', 'y')).rejects.toThrow('the peering whose twin it is');
    await expect(binding('twin', 'fluvia-peering', 'x', 'default')).rejects.toThrow(
      'the peering whose twin it is',
    );
    await binding('twin', 'fluvia-peering');
    await controller.delete(NAMESPACE, 'twin');
    await controller.close();
  });
});

describe('fluviactl uninstall', () => {
  it('is refused while there are peers or open namespaces, and says which', async () => {
    await client.create(fluviaRef('Peer'), example('Peer'));
    const { code, err } = await cli('uninstall', '--yes');
    expect(code).toBe(1);
    expect(err).toContain('still has peers: east');
    expect(err).toContain('Next:  part from them first: fluviactl unpeer east');
    await client.delete(fluviaRef('Peer'), 'east');
  });

  it('asks first, and without a terminal says --yes', async () => {
    const { code, err } = await cli('uninstall');
    expect(code).toBe(2);
    expect(err).toContain('--yes');
  });

  it('removes everything, also what has finalizers that nobody takes away, and is content to be run again', async () => {
    await client.create(fluviaRef('Claim'), {
      ...example('Claim'),
      metadata: { name: 'stuck', finalizers: ['fluvia.dev/cleanup'] },
    });
    const { code, err } = await cli('uninstall', '--yes');
    expect(err).not.toContain('Error');
    expect(code).toBe(0);
    expect(await ours()).toEqual([]);
    expect((await cli('uninstall', '--yes')).out).toContain('Nothing of Fluvia is in this cluster');
    expect((await cli('status')).err).toContain('Next:  run: fluviactl install');
  });
});
