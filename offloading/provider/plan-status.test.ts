import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SHADOW_STATUS } from '../../api/collections.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { cleanText, planStatus, refusedStatus, type StatusWorld } from './plan-status.ts';

const spec = { containers: [{ name: 'web' }], readinessGates: [{ conditionType: 'example.com/gate' }] };
const pod = (status: Record<string, unknown>): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web-0', namespace: 'shop' },
  spec: { nodeName: 'east-1', containers: [] },
  status,
});
const world = (more: Partial<StatusWorld>): StatusWorld => ({
  uid: 'u',
  spec,
  pod: undefined,
  phase: 'Running',
  incarnations: 1,
  healing: false,
  addressOpen: false,
  ...more,
});
const running = {
  phase: 'Running',
  podIP: '10.244.0.7',
  podIPs: [{ ip: '10.244.0.7' }],
  hostIP: '198.18.0.2',
  conditions: [
    { type: 'Ready', status: 'True' },
    { type: 'example.com/gate', status: 'True' },
    { type: 'other.io/secret', status: 'True' },
  ],
  containerStatuses: [
    {
      name: 'web',
      ready: true,
      restartCount: 2,
      image: 'web:1',
      imageID: 'x',
      state: { running: { startedAt: 't' } },
    },
    { name: 'sidecar-of-the-provider', ready: true, restartCount: 0, image: 'spy', imageID: 'y' },
  ],
};

/** Every text in a value, at any depth. */
const textsOf = (value: unknown): string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.values(value).flatMap(textsOf)
      : [];

describe('planStatus', () => {
  it("tells what the consumer's own spec knows, and no address before it is open", () => {
    const item = planStatus(world({ pod: pod(running) }));
    expect(item).toEqual({
      uid: 'u',
      state: 'accepted',
      nodeName: 'east-1',
      status: {
        phase: 'Running',
        conditions: [
          { type: 'Ready', status: 'True' },
          { type: 'example.com/gate', status: 'True' },
        ],
        containerStatuses: [
          {
            name: 'web',
            ready: true,
            restartCount: 2,
            image: 'web:1',
            imageID: 'x',
            state: { running: { startedAt: 't' } },
          },
        ],
      },
    });
    expect(planStatus(world({ pod: pod(running), addressOpen: true })).podIP).toBe('10.244.0.7');
  });

  it('counts earlier pods as restarts', () => {
    const item = planStatus(world({ pod: pod(running), incarnations: 3 }));
    expect(item.status).toMatchObject({ containerStatuses: [{ restartCount: 4 }] });
  });

  it('never shows an end that is being healed', () => {
    const evicted = pod({ ...running, phase: 'Failed', reason: 'Evicted' });
    expect(planStatus(world({ pod: evicted, healing: true })).status).toMatchObject({
      phase: 'Pending',
      reason: 'Recreating',
      conditions: [
        { type: 'Ready', status: 'False' },
        { type: 'ContainersReady', status: 'False' },
      ],
    });
  });

  it('keeps telling an end when the pod is long gone', () => {
    const item = planStatus(
      world({ phase: 'Failed', waiting: { reason: 'PodLost', message: 'it was deleted' } }),
    );
    expect(item).toMatchObject({ reason: 'PodLost', status: { phase: 'Failed', reason: 'PodLost' } });
    expect(planStatus(world({ phase: 'Succeeded' })).status).toEqual({ phase: 'Succeeded' });
  });

  it('is always valid for the link and never speaks to terminals', () => {
    const state = fc.oneof(
      fc.record({
        waiting: fc.record({ reason: fc.string(), message: fc.string({ unit: 'binary', maxLength: 40 }) }),
      }),
      fc.record({
        terminated: fc.record({
          exitCode: fc.integer(),
          message: fc.string({ unit: 'binary', maxLength: 40 }),
        }),
      }),
    );
    const statuses = fc.array(
      fc.record({
        name: fc.constantFrom('web', 'x'),
        ready: fc.boolean(),
        restartCount: fc.nat(),
        image: fc.string(),
        imageID: fc.string(),
        state,
        lastState: state,
      }),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(statuses, fc.string({ unit: 'binary', maxLength: 40 }), (containerStatuses, message) => {
        const item = planStatus(world({ pod: pod({ ...running, message, containerStatuses }) }));
        expect(SHADOW_STATUS.schema.safeParse(item).success).toBe(true);
        const json = JSON.stringify(item);
        expect(json.length).toBeLessThan(SHADOW_STATUS.maxItemBytes);
        // in its texts, not in their JSON: there a printed backslash before an "r" reads like a carriage return
        expect(textsOf(item).filter((text) => /(?![\t\n])\p{Cc}/u.test(text))).toEqual([]);
        const refusal = refusedStatus('u', message, message, false);
        expect(SHADOW_STATUS.schema.safeParse(refusal).success).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe('cleanText', () => {
  it('drops escape codes and bounds the length', () => {
    expect(cleanText('\u001b[31mred\u009b0m\ttab\nline')).toBe('[31mred0m\ttab\nline');
    expect(cleanText('x'.repeat(2000))?.length).toBe(1024);
    expect(cleanText('\ud800')).toBe('\ufffd');
    expect(cleanText(undefined)).toBeUndefined();
  });
});
