import { describe, expect, it } from 'vitest';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import { whyNoTenant } from './plan-tenant.ts';

const peerOf = (roles: readonly string[], deletionTimestamp?: string): Peer =>
  ({ metadata: { name: 'east', deletionTimestamp }, spec: { roles } }) as unknown as Peer;

describe('a tenant of the store', () => {
  it('is a consumer, as long as it is one', () => {
    expect(whyNoTenant(peerOf(['Consumer']), 'west')).toBeUndefined();
    expect(whyNoTenant(peerOf(['Provider', 'Consumer']), 'west')).toBeUndefined();
    expect(whyNoTenant(peerOf(['Provider']), 'west')).toMatchObject({
      reason: 'NotAConsumer',
      message: expect.stringContaining('add Consumer to spec.roles of its Peer east') as string,
    });
    expect(whyNoTenant(peerOf(['Consumer'], '2026-01-01T00:00:00Z'), 'west')?.reason).toBe('PeerLeaving');
    expect(whyNoTenant(undefined, 'west')?.reason).toBe('NotPeered');
  });
});
