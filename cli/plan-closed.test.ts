import { describe, expect, it } from 'vitest';
import type { PersistentVolumeClaim } from '../runtime/kube/storage-types.ts';
import { closedText } from './plan-closed.ts';

const claim = (name: string, storageClassName: string): PersistentVolumeClaim =>
  ({ metadata: { name, namespace: 'shop' }, spec: { storageClassName } }) as PersistentVolumeClaim;

describe('closedText', () => {
  it('promises home to what is made anew only, whatever the strategy was', () => {
    const text = closedText('shop', true, [claim('cache', 'standard')]);
    expect(text).toContain('closed: none of its pods is at a peer any more');
    expect(text).toContain('What their owners make anew starts at home; bare pods');
    expect(text).not.toContain('volume');
  });

  it('says that pods with a volume at a peer wait', () => {
    const text = closedText('shop', true, [claim('logs', 'fluvia'), claim('data', 'fluvia')]);
    expect(text).toContain('Pods with a fluvia volume (data, logs) wait');
  });

  it('names no volume that is at home, and says how the others come there', () => {
    const atHome = {
      ...claim('data', 'fluvia'),
      status: { conditions: [{ type: 'fluvia.dev/Volume', status: 'True', reason: 'AtHome' }] },
    };
    expect(closedText('shop', true, [atHome])).not.toContain('data');
    expect(closedText('shop', true, [atHome, claim('logs', 'fluvia')])).toMatch(
      /\(logs\).*fluviactl move volume/,
    );
  });

  it('says that pods are still leaving when it was not waited for', () => {
    expect(closedText('shop', false, [])).toContain('closing: its pods are leaving the peers');
  });
});
