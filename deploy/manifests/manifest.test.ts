import { describe, expect, it } from 'vitest';
import { KINDS } from '../../api/v1alpha1/kinds.ts';
import { agentPodSpec } from './agent.ts';
import { INSTALL_LABELS } from './common.ts';
import { installStages } from './manifest.ts';
import { refOf } from './refs.ts';

const options = {
  clusterName: 'home',
  image: 'fluvia.local/fluvia:1',
  podCIDRs: ['10.244.0.0/16'],
  serviceCIDRs: ['10.96.0.0/16'],
};
const stages = installStages(options);
const objects = stages.flatMap((stage) => stage.objects);
const find = (kind: string, name: string, namespace?: string): Record<string, unknown> =>
  objects.find((o) => o.kind === kind && o.metadata.name === name && o.metadata.namespace === namespace) ??
  {};

interface Rule {
  readonly apiGroups: string[];
  readonly resources: string[];
  readonly verbs: string[];
  readonly resourceNames?: string[];
}
const rulesOf = (kind: string, name: string, namespace?: string): Rule[] =>
  (find(kind, name, namespace)['rules'] as Rule[] | undefined) ?? [];
const allows = (rules: readonly Rule[], verb: string, group: string, resource: string): boolean =>
  rules.some((r) => r.verbs.includes(verb) && r.apiGroups.includes(group) && r.resources.includes(resource));

describe('the manifest', () => {
  it('labels every object, so that uninstall finds what any version left', () => {
    expect(
      objects.filter(
        (o) => o.metadata.labels?.['app.kubernetes.io/name'] !== INSTALL_LABELS['app.kubernetes.io/name'],
      ),
    ).toEqual([]);
  });

  it('names each object once and holds only known kinds', () => {
    const names = objects.map((o) => `${refOf(o).plural} ${o.metadata.namespace ?? ''}/${o.metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it('applies namespaces before what lies in them, kinds before their objects, workloads last', () => {
    const at = (kind: string): number => stages.findIndex((s) => s.objects.some((o) => o.kind === kind));
    expect(at('Namespace')).toBe(0);
    expect(at('CustomResourceDefinition')).toBeLessThan(at('NetworkConfig'));
    expect(at('ClusterRole')).toBeLessThan(at('Deployment'));
    expect(at('ValidatingAdmissionPolicy')).toBeLessThan(at('DaemonSet'));
    expect(at('DaemonSet')).toBe(stages.length - 1);
  });

  it('holds every kind', () => {
    expect(objects.filter((o) => o.kind === 'CustomResourceDefinition')).toHaveLength(KINDS.length);
  });

  it('writes into the NetworkConfig only what was asked for', () => {
    expect(find('NetworkConfig', 'default')['spec']).toEqual({
      podCIDRs: options.podCIDRs,
      serviceCIDRs: options.serviceCIDRs,
    });
  });

  it('leaves the CA of the webhooks to the leader', () => {
    expect(JSON.stringify(objects.filter((o) => o.kind === 'MutatingWebhookConfiguration'))).not.toContain(
      'caBundle',
    );
  });
});

describe('the agent', () => {
  const spec = agentPodSpec('image') as {
    containers: {
      name: string;
      securityContext: { capabilities: unknown; privileged?: boolean };
      volumeMounts: { name: string }[];
    }[];
    volumes: { name: string; hostPath?: { path: string } }[];
    hostPID?: boolean;
  };

  it('has one capability and two host paths', () => {
    expect(spec.volumes.flatMap((v) => (v.hostPath === undefined ? [] : [v.hostPath.path]))).toEqual([
      '/proc/sys/net',
      '/dev/net/tun',
    ]);
    for (const container of spec.containers) {
      expect(container.securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
      });
    }
    expect(JSON.stringify(spec)).not.toMatch(/privileged|hostPID|hostIPC/);
  });

  it('gives its token to the agent alone', () => {
    const holders = spec.containers.filter((c) => c.volumeMounts.some((m) => m.name === 'token'));
    expect(holders.map((c) => c.name)).toEqual(['agent']);
  });

  it('reads no Secret, Pod or Node, and writes but fabric status', () => {
    const rules = rulesOf('ClusterRole', 'fluvia-agent');
    expect(new Set(rules.flatMap((r) => r.apiGroups))).toEqual(new Set(['fluvia.dev']));
    expect(rules.flatMap((r) => r.verbs).filter((v) => ['create', 'delete', '*'].includes(v))).toEqual([]);
  });
});

describe('rights', () => {
  const roles = objects.filter((o) => o.kind === 'ClusterRole' || o.kind === 'Role');
  const rules = roles.flatMap((o) =>
    (o['rules'] as Rule[]).map((r) => ({
      ...r,
      of: `${o.kind} ${o.metadata.namespace ?? ''}/${o.metadata.name}`,
    })),
  );

  it('have no wildcard and no escalation', () => {
    expect(rules.filter((r) => [...r.verbs, ...r.apiGroups, ...r.resources].includes('*'))).toEqual([]);
    expect(rules.filter((r) => r.verbs.includes('escalate'))).toEqual([]);
  });

  it('impersonate only ServiceAccounts of fluvia-peers', () => {
    const impersonating = rules.filter((r) => r.verbs.includes('impersonate'));
    expect(impersonating.map((r) => [r.of, r.resources])).toEqual([
      ['Role fluvia-peers/fluvia-controller', ['serviceaccounts']],
    ]);
  });

  it('make Jobs only where no pod may be privileged', () => {
    const making = rules.filter((r) => r.resources.includes('jobs') && r.verbs.includes('create'));
    // the other is bound in twins only, whose namespaces the cluster's own rules hold for
    expect(making.map((r) => r.of).toSorted()).toEqual([
      'ClusterRole /fluvia-peering',
      'Role fluvia-volumes/fluvia-controller',
    ]);
    const volumes = objects.find((o) => o.kind === 'Namespace' && o.metadata.name === 'fluvia-volumes');
    expect(volumes?.metadata.labels?.['pod-security.kubernetes.io/enforce']).toBe('baseline');
  });

  it('bind only the role of the peerings', () => {
    expect(rules.filter((r) => r.verbs.includes('bind')).map((r) => r.resourceNames)).toEqual([
      ['fluvia-peering'],
    ]);
  });

  it('let the controller write no Secret, ConfigMap or Service outside its namespace: those are written as the peering', () => {
    const controller = rulesOf('ClusterRole', 'fluvia-controller');
    for (const resource of ['secrets', 'configmaps', 'services']) {
      expect(allows(controller, 'list', '', resource)).toBe(true);
      for (const verb of ['create', 'update', 'patch', 'delete']) {
        expect(allows(controller, verb, '', resource)).toBe(false);
      }
    }
    expect(allows(controller, 'create', '', 'pods')).toBe(false);
    expect(allows(controller, 'get', '', 'pods/exec')).toBe(false);
  });

  it('bind each role that they name', () => {
    for (const binding of objects.filter(
      (o) => o.kind === 'RoleBinding' || o.kind === 'ClusterRoleBinding',
    )) {
      const ref = binding['roleRef'] as { kind: string; name: string };
      const builtIn = ref.name === 'extension-apiserver-authentication-reader';
      const namespace = ref.kind === 'Role' ? binding.metadata.namespace : undefined;
      expect(builtIn || rulesOf(ref.kind, ref.name, namespace).length > 0).toBe(true);
    }
  });
});

describe('the controller', () => {
  it('has no host access and no privilege', () => {
    const text = JSON.stringify(find('Deployment', 'fluvia-controller', 'fluvia-system'));
    expect(text).not.toMatch(/hostNetwork|hostPath|hostPID|"add"/);
    expect(text).toContain('"runAsNonRoot":true');
    expect(text).toContain('"drop":["ALL"]');
  });

  it('and the agents stay off the nodes that stand for peers', () => {
    for (const [kind, name] of [
      ['Deployment', 'fluvia-controller'],
      ['DaemonSet', 'fluvia-agent'],
    ] as const) {
      expect(JSON.stringify(find(kind, name, 'fluvia-system'))).toContain(
        '{"key":"fluvia.dev/virtual-node","operator":"DoesNotExist"}',
      );
    }
  });
});

describe('the store in the manifest', () => {
  const credentials = { accessKey: 'a', secretKey: 'a-secret' };
  const embedded = { image: 'fluvia.local/versitygw:1', size: '20Gi', credentials };
  const withStore = installStages({
    ...options,
    objectStore: { secretName: 'fluvia-object-store', embedded },
  }).flatMap((stage) => stage.objects);
  const added = withStore.slice(objects.length);

  it('is only there when asked for, and only the front with an S3 of one’s own', () => {
    expect(objects.some((o) => o.metadata.name === 'fluvia-store')).toBe(false);
    expect(added.map((o) => `${o.kind}/${o.metadata.name}`)).toEqual([
      'Secret/fluvia-object-store',
      'Service/fluvia-object-store',
      'PersistentVolumeClaim/fluvia-object-store',
      'Deployment/fluvia-object-store',
      'Deployment/fluvia-store',
    ]);
    const own = installStages({ ...options, objectStore: { secretName: 'mine' } }).flatMap((s) => s.objects);
    expect(own.slice(objects.length).map((o) => `${o.kind}/${o.metadata.name}`)).toEqual([
      'Deployment/fluvia-store',
    ]);
    expect(JSON.stringify(own)).toContain('{"name":"object-store","secret":{"secretName":"mine"');
    // As files: from variables a front that runs would never see a corrected Secret.
    expect(JSON.stringify(own)).not.toContain('"secretKeyRef":{"name":"mine"');
  });

  it('runs unprivileged, without a token of the API and without anything of its host', () => {
    for (const { spec } of added.filter((o) => o.kind === 'Deployment') as unknown as {
      spec: { template: { spec: Record<string, unknown> } };
    }[]) {
      const pod = spec.template.spec;
      expect(pod).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
        containers: [
          {
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ['ALL'] },
            },
          },
        ],
      });
      expect(JSON.stringify(pod)).not.toMatch(/hostPath|hostNetwork|hostPID/);
    }
  });

  it('keeps credentials in the Secret only', () => {
    const rest = added.filter((o) => o.kind !== 'Secret');
    expect(JSON.stringify(rest)).not.toContain(credentials.secretKey);
    expect(added.every((o) => refOf(o).kind === o.kind)).toBe(true);
  });
});
