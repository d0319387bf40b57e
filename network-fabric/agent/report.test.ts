import { describe, expect, it } from 'vitest';
import { HostToolError } from '../../runtime/host/exec.ts';
import { planNetworkReady } from '../plan-network-ready.ts';
import { replyTo } from './probe.ts';
import { gatewayStatus, readyCondition, urgentText } from './report.ts';

const NOW = '2026-11-25T02:00:00.000Z';
const KEY = `${'A'.repeat(42)}A=`;
const gateway = {
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Gateway',
  metadata: { name: 'n1', generation: 3 },
  spec: {
    listenPort: 51820,
    peers: [{ peer: 'b', publicKey: KEY, endpoints: ['203.0.113.1:51820'], allowedIPs: [] }],
  },
};
const ready = readyCondition(undefined, true);

const statusWith = (latestHandshake: number, rttMilliseconds: number | undefined, unanswered = 0) =>
  gatewayStatus({
    gateway,
    ready,
    device: {
      name: 'fluvia0',
      publicKey: 'own',
      listenPort: 51820,
      peers: [
        {
          publicKey: KEY,
          allowedIPs: [],
          latestHandshake,
          rxBytes: 1,
          txBytes: 2,
          persistentKeepalive: 25,
        },
      ],
    },
    links: [{ name: 'fluvia0', index: 1, kind: 'tun', isUp: true, mtu: 1420, mac: '' }],
    probe: () => ({ rttMilliseconds, lossPercent: 0, unanswered }),
    now: NOW,
  });

const condition = (
  status: ReturnType<typeof statusWith>,
  tunnelFailure?: { reason: string; message: string },
) =>
  planNetworkReady({
    peer: 'b',
    view: {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'View',
      metadata: { name: 'b' },
      spec: {
        peer: 'b',
        clusterID: 'a'.repeat(26),
        theirs: [],
        ours: [{ purpose: 'Pod', real: '10.1.0.0/16', view: '10.2.0.0/16' }],
      },
    },
    gateway: { ...gateway, status },
    viewFailure: undefined,
    tunnelFailure,
    nowMs: Date.parse(NOW),
  });

const fresh = Date.parse(NOW) / 1000 - 10;

describe('readyCondition', () => {
  it('names what is wrong on the node', () => {
    const missing = new HostToolError('nft', 'nft is not installed', { isMissing: true });
    expect(readyCondition(missing, true)).toMatchObject({ status: 'False', reason: 'HostToolMissing' });
    const refused = new HostToolError(
      'nft',
      'nft -f -: Error: Could not process rule: Operation not permitted',
    );
    expect(readyCondition(refused, true)).toMatchObject({ status: 'False', reason: 'HostToolUnusable' });
    const failed = new HostToolError('nft', 'nft -f -: Error: syntax error');
    expect(readyCondition(failed, true)).toMatchObject({ status: 'False', reason: 'ApplyFailed' });
    expect(readyCondition(new Error('no'), true)).toMatchObject({ reason: 'ApplyFailed', message: 'no' });
    expect(readyCondition(undefined, false)).toMatchObject({ reason: 'ForwardingDisabled' });
    expect(ready).toMatchObject({ status: 'True' });
  });
});

describe('gatewayStatus and planNetworkReady', () => {
  it('say Connected only with a fresh handshake and an answered probe', () => {
    expect(condition(statusWith(fresh, 1.5))).toMatchObject({ status: 'True', reason: 'Connected' });
    expect(condition(statusWith(fresh - 300, 1.5)).reason).toBe('NoHandshake');
    expect(condition(statusWith(0, undefined)).reason).toBe('NoHandshake');
    expect(condition(statusWith(fresh, undefined)).reason).toBe('NoProbeReply');
    expect(condition(statusWith(fresh, 1.5, 3)).reason).toBe('Connected');
    expect(condition(statusWith(fresh, 1.5, 4)).reason).toBe('NoProbeReply');
  });

  it('tell why there may be no tunnel only while there is none', () => {
    const failure = { reason: 'GatewayRefused', message: 'No tunnel.' };
    expect(condition(statusWith(0, undefined), failure).reason).toBe('GatewayRefused');
    expect(condition(statusWith(fresh, 1.5), failure).reason).toBe('Connected');
  });

  it('are urgent when a handshake or an answer came or answers stopped, not for each new figure', () => {
    expect(urgentText(statusWith(fresh, 1.5))).toBe(urgentText(statusWith(fresh + 5, 9)));
    expect(urgentText(statusWith(fresh, 1.5))).not.toBe(urgentText(statusWith(fresh, undefined)));
    expect(urgentText(statusWith(fresh, 1.5, 4))).toBe(urgentText(statusWith(fresh, 1.5, 9)));
    expect(urgentText(statusWith(fresh, 1.5, 4))).not.toBe(urgentText(statusWith(fresh, 1.5, 3)));
  });
});

describe('replyTo', () => {
  const probe = Buffer.from('464c555600000007aabbccddeeff0011', 'hex');

  it('answers a probe with as many bytes, and nothing else', () => {
    expect(replyTo(probe)?.toString('hex')).toBe('464c555680000007aabbccddeeff0011');
    expect(replyTo(replyTo(probe) ?? Buffer.alloc(0))).toBeUndefined();
    expect(replyTo(probe.subarray(1))).toBeUndefined();
    expect(replyTo(Buffer.alloc(16))).toBeUndefined();
  });
});
