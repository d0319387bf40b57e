import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DnsSubdomain } from '../../api/cluster-id.ts';
import { nameAtHome, nameInTwin } from './name-in-twin.ts';

describe('nameInTwin', () => {
  it.each([
    ['Secret', 'regcred', 'regcred.fluvia'],
    ['ConfigMap', 'conf', 'conf.fluvia'],
    ['ConfigMap', 'kube-root-ca.crt', 'kube-root-ca.crt'],
    ['Secret', 'kube-root-ca.crt', 'kube-root-ca.crt.fluvia'],
    ['Service', 'web', 'web'],
    ['EndpointSlice', 'web-x', 'web-x'],
  ])('of %s %s is %s', (kind, name, inTwin) => {
    expect(nameInTwin(kind, name)).toBe(inTwin);
  });

  it('is a name that nothing else of a namespace has, and another for another object', () => {
    const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/);
    fc.assert(
      fc.property(name, name, fc.constantFrom('ConfigMap', 'Secret'), (a, b, kind) => {
        fc.pre(a !== 'kube-root-ca.crt' && b !== 'kube-root-ca.crt');
        const made = nameInTwin(kind, a);
        expect(DnsSubdomain.safeParse(made).success).toBe(true);
        expect(made.endsWith('.fluvia')).toBe(true);
        expect(nameInTwin(kind, b) === made).toBe(a === b);
      }),
    );
  });

  it('of the longest names differs, too', () => {
    const long = 'a'.repeat(252);
    expect(nameInTwin('Secret', `${long}b`)).toHaveLength(253);
    expect(nameInTwin('Secret', `${long}b`)).not.toBe(nameInTwin('Secret', `${long}c`));
  });
});

describe('nameAtHome', () => {
  const object = (name: string, originName?: string) => ({
    metadata: {
      name,
      ...(originName === undefined ? {} : { annotations: { 'fluvia.dev/origin-name': originName } }),
    },
  });

  it('is what the object says, if it has the name of that', () => {
    expect(nameAtHome('Secret', object('regcred.fluvia', 'regcred'))).toBe('regcred');
    expect(nameAtHome('Secret', object('regcred', 'regcred'))).toBeUndefined();
    expect(nameAtHome('Secret', object('regcred'))).toBeUndefined();
    expect(nameAtHome('Service', object('web'))).toBe('web');
  });
});
