import { describe, expect, it } from 'vitest';
import { ANNOTATIONS, FINALIZERS, LABELS } from '../../api/labels.ts';
import type { NamespaceOffloading } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Namespace } from '../../runtime/kube/types.ts';
import { planNamespace, whyNotOpenable, type NamespaceWorld, type SelectedPeer } from './plan-namespace.ts';

const NOW = '2026-11-25T01:00:00Z';

const namespace = (labels: Record<string, string> = {}, name = 'shop'): Namespace => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
});

const offloading = (
  metadata: Partial<NamespaceOffloading['metadata']> = {},
  spec: Partial<NamespaceOffloading['spec']> = {},
): NamespaceOffloading => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'NamespaceOffloading',
  metadata: { name: 'offloading', namespace: 'shop', finalizers: [FINALIZERS.cleanup], ...metadata },
  spec: { strategy: 'LocalAndRemote', mapping: 'auto', ...spec },
});

const peer = (name: string, overrides: Partial<SelectedPeer> = {}): SelectedPeer => ({
  name,
  clusterID: name[0]?.repeat(26) ?? '',
  twin: { twin: 'shop', ready: true, reason: 'Ready', message: '' },
  isLinkUp: true,
  ...overrides,
});

const world = (overrides: Partial<NamespaceWorld> = {}): NamespaceWorld => ({
  namespace: namespace({ [LABELS.offload]: 'true', [LABELS.strategy]: 'local-and-remote' }),
  offloading: offloading(),
  selected: [peer('east'), peer('west')],
  floated: [],
  volumes: [],
  webhookProblem: undefined,
  now: NOW,
  ...overrides,
});

const floated = { name: 'web', uid: 'u', peer: 'east', isDeleting: false };
const readyOf = (given: NamespaceWorld) =>
  planNamespace(given).status?.conditions?.find((c) => c.type === 'Ready');

describe('planNamespace', () => {
  it('the label makes the offloading, and its removal takes it away, if the label made it', () => {
    expect(planNamespace(world({ offloading: undefined })).offloading).toBe('create');
    const bare = { namespace: namespace() };
    const made = offloading({ annotations: { [ANNOTATIONS.madeByLabel]: 'true' } });
    expect(planNamespace(world({ ...bare, offloading: made })).offloading).toBe('delete');
    expect(planNamespace(world(bare)).offloading).toBe('keep');
  });

  it('publishes nothing before the finalizer stands', () => {
    const plan = planNamespace(world({ offloading: offloading({ finalizers: [] }) }));
    expect(plan).toMatchObject({ addFinalizer: true, strategyLabel: undefined });
    expect(plan.publish.size).toBe(0);
  });

  it('tells each peer of the others', () => {
    const { publish, strategyLabel, evict } = planNamespace(world());
    expect([...publish]).toEqual([
      ['east', { mapping: 'auto', sharedWith: ['w'.repeat(26)] }],
      ['west', { mapping: 'auto', sharedWith: ['e'.repeat(26)] }],
    ]);
    expect([strategyLabel, evict]).toEqual([undefined, []]);
  });

  it.each([
    ['LocalAndRemote', 'local-and-remote'],
    ['Remote', 'remote'],
    ['Local', 'local'],
  ] as const)('strategy %s is mirrored as %s', (strategy, label) => {
    const given = world({ namespace: namespace(), offloading: offloading({}, { strategy }) });
    expect(planNamespace(given).strategyLabel).toBe(label);
    expect(planNamespace({ ...given, webhookProblem: 'broken' }).strategyLabel).toBeUndefined();
  });

  it.each<[string, Partial<NamespaceWorld>, string]>([
    ['all is well', {}, 'Open'],
    ['the webhook is broken', { webhookProblem: 'broken' }, 'WebhookNotReady'],
    ['the label is not there', { namespace: namespace() }, 'LabelPending'],
    ['there are no peers', { selected: [] }, 'NoPeers'],
    [
      'a peer has not answered',
      { selected: [peer('east'), peer('west', { twin: undefined })] },
      'TwinsPending',
    ],
    [
      'a silent peer is down',
      { selected: [peer('east'), peer('west', { twin: undefined, isLinkUp: false })] },
      'Open',
    ],
    [
      'all refuse',
      { selected: [peer('east', { twin: { ready: false, reason: 'NameTaken', message: 'taken' } })] },
      'NoTwins',
    ],
    ['it is a system namespace', { namespace: namespace({}, 'kube-system') }, 'NotAllowed'],
  ])('when %s, Ready says %s', (_, overrides, reason) => {
    const ready = readyOf(world(overrides));
    expect(ready).toMatchObject({ reason, status: reason === 'Open' ? 'True' : 'False' });
  });

  it('a peer that is left gives its pods back before its twin goes', () => {
    const given = world({ selected: [peer('west')], floated: [floated] });
    const plan = planNamespace(given);
    expect(plan.evict).toEqual([floated]);
    expect([...plan.publish.keys()]).toEqual(['east', 'west']);
    const dying = planNamespace({ ...given, floated: [{ ...floated, isDeleting: true }] });
    expect(dying.evict).toEqual([]);
    expect([...planNamespace({ ...given, floated: [] }).publish.keys()]).toEqual(['west']);
  });

  it('closes in order: label, pods, twins, finalizer', () => {
    const closing = world({ offloading: offloading({ deletionTimestamp: NOW }), floated: [floated] });
    const plan = planNamespace(closing);
    expect(plan).toMatchObject({ strategyLabel: null, evict: [floated], removeFinalizer: false });
    expect([...plan.publish.keys()]).toEqual(['east']);
    const done = planNamespace({ ...closing, floated: [] });
    expect(done.removeFinalizer).toBe(true);
    expect(done.publish.size).toBe(0);
  });

  it('a peer that holds a volume keeps its twin, and what it holds, until that is gone', () => {
    const volumes = [{ claim: 'data', peer: 'east' }];
    const left = planNamespace(world({ selected: [peer('west')], volumes }));
    expect([...left.publish.keys()]).toEqual(['east', 'west']);
    expect(left.evict).toEqual([]);
    const given = world({ offloading: offloading({ deletionTimestamp: NOW }), volumes });
    const closing = planNamespace(given);
    expect(closing.removeFinalizer).toBe(false);
    expect([...closing.publish.keys()]).toEqual(['east']);
    expect(readyOf(given)?.message).toMatch(/data \(at east\); move each here \(fluviactl move volume/);
    const done = planNamespace({ ...given, volumes: [] });
    expect([done.removeFinalizer, done.publish.size]).toEqual([true, 0]);
    const tails = { ...given, volumes: [{ claim: 'data', peer: 'east', tailOf: 'fluvia-v1' }] };
    expect([...planNamespace(tails).publish.keys()]).toEqual(['east']);
    expect(readyOf(tails)?.message).toMatch(
      /^what was written last to data before east was lost .* annotate pv fluvia-v1 fluvia.dev\/diverged-$/,
    );
  });

  it('twins of others and the cluster’s own namespaces are never opened', () => {
    expect(whyNotOpenable(namespace({ [LABELS.origin]: 'x' }))).toMatch(/twin/);
    expect(whyNotOpenable(namespace({}, 'fluvia-system'))).toMatch(/cluster itself/);
    expect(whyNotOpenable(namespace())).toBeUndefined();
    const twin = world({
      namespace: namespace({ [LABELS.offload]: 'true', [LABELS.origin]: 'x' }),
      offloading: undefined,
    });
    expect(planNamespace(twin).offloading).toBe('keep');
  });
});
