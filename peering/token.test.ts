import { generateKeyPairSync, randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FluviaError } from '../api/errors.ts';
import { base32, clusterIdOfPin, fingerprintOf, pinOfKey } from './keys.ts';
import { endpointsOf } from './invite.ts';
import { formatToken, parseToken, type InviteToken } from './token.ts';
import {
  inviteKeyOfSeed,
  publicKeyOfRaw,
  rawPublicKey,
  signTranscript,
  transcriptBytes,
  verifyTranscript,
  type Transcript,
} from './transcript.ts';

const PIN = 'ab'.repeat(32);

const token: InviteToken = {
  v: 1,
  id: 'inv-abc',
  seed: Buffer.alloc(32, 7).toString('base64url'),
  pin: PIN,
  clusterID: clusterIdOfPin(PIN),
  name: 'east',
  roles: ['Consumer'],
  expiresAt: '2026-11-25T02:00:00.000Z',
  endpoints: ['198.18.0.2:31443', '[fd00::1]:31443', 'east.example.org:443'],
  protocol: { min: 1, max: 1 },
  features: ['container-streams'],
};

const refusal = (text: string): string | undefined => {
  try {
    parseToken(text);
    return undefined;
  } catch (error) {
    return error instanceof FluviaError ? error.code : `not a FluviaError: ${String(error)}`;
  }
};

describe('names of keys', () => {
  it('encodes base32 as RFC 4648 §10 says', () => {
    const vectors = {
      '': '',
      f: 'my',
      fo: 'mzxq',
      foo: 'mzxw6',
      foob: 'mzxw6yq',
      fooba: 'mzxw6ytb',
      foobar: 'mzxw6ytboi',
    };
    for (const [text, encoded] of Object.entries(vectors)) expect(base32(Buffer.from(text))).toBe(encoded);
  });

  it('derives the cluster ID from the pin', () => {
    expect(clusterIdOfPin('00'.repeat(32))).toBe('a'.repeat(26));
    expect(clusterIdOfPin(pinOfKey(generateKeyPairSync('ed25519').publicKey))).toMatch(/^[a-z2-7]{26}$/);
  });

  it('shows the same fingerprint at both ends and another for another pair', () => {
    const [a, b, c] = ['aa', 'bb', 'cc'].map((byte) => byte.repeat(32)) as [string, string, string];
    expect(fingerprintOf(a, b)).toBe(fingerprintOf(b, a));
    expect(fingerprintOf(a, b)).not.toBe(fingerprintOf(a, c));
    expect(fingerprintOf(a, b)).toMatch(/^(?:[a-z2-7]{4}-){3}[a-z2-7]{4}$/);
  });
});

describe('the invite token', () => {
  it('reads what was written, also with white space around it', () => {
    expect(parseToken(formatToken(token))).toEqual(token);
    expect(parseToken(`\n ${formatToken(token)} \n`)).toEqual(token);
  });

  it('throws nothing but INVITE_INVALID, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((s) => `fluvia1.${s}`),
          fc.json().map((j) => `fluvia1.${Buffer.from(j).toString('base64url')}`),
        ),
        (text) => {
          expect(refusal(text)).toBe('FLUVIA_ERR_INVITE_INVALID');
        },
      ),
    );
    expect(refusal('x'.repeat(100_000))).toBe('FLUVIA_ERR_INVITE_INVALID');
  });

  it('never takes a changed character for the same invite', () => {
    const text = formatToken(token);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom(...'abcXYZ019-_=.%'.split('')), (at, by) => {
        const changed = text.slice(0, at) + by + text.slice(at + 1);
        if (changed === text) return;
        const parsed = refusal(changed) === undefined ? parseToken(changed) : undefined;
        expect(parsed).not.toEqual(token);
      }),
      { numRuns: 500 },
    );
  });

  it.each(['no-port', 'host:0', 'host:70000', 'a b:1', 'host:1x', '[zz]:1', 'http://h:1'])(
    'refuses the endpoint %s',
    (endpoint) => {
      expect(refusal(formatToken({ ...token, endpoints: [endpoint] }))).toBe('FLUVIA_ERR_INVITE_INVALID');
    },
  );

  it('refuses a cluster ID that is not of its pin', () => {
    expect(refusal(formatToken({ ...token, clusterID: 'a'.repeat(26) }))).toBe('FLUVIA_ERR_INVITE_INVALID');
  });
});

describe('the transcript', () => {
  const transcript: Transcript = {
    inviteID: 'inv-abc',
    inviterPin: PIN,
    joinerPin: 'cd'.repeat(32),
    inviterClusterID: 'a',
    joinerClusterID: 'b',
    inviterName: 'east',
    joinerName: 'home',
    joinerClusterUID: 'uid',
    offeredProtocol: { min: 1, max: 2 },
    offeredFeatures: ['x', 'y'],
    chosenProtocol: 1,
    chosenFeatures: ['x'],
    roles: ['Consumer'],
    exporter: Buffer.alloc(32, 1),
  };
  const seed = randomBytes(32).toString('base64url');
  const key = inviteKeyOfSeed(seed);
  const publicKey = publicKeyOfRaw(rawPublicKey(key))!;

  it('is verified by what the Invite object keeps', () => {
    const signature = signTranscript('invite', transcript, key);
    expect(verifyTranscript('invite', transcript, publicKey, signature)).toBe(true);
    expect(verifyTranscript('joiner', transcript, publicKey, signature)).toBe(false);
    expect(verifyTranscript('invite', transcript, publicKey, Buffer.alloc(0))).toBe(false);
    expect(publicKeyOfRaw('AAAA')).toBeUndefined();
  });

  it('binds every field', () => {
    const signature = signTranscript('invite', transcript, key);
    const changes: Partial<Transcript>[] = [
      { inviteID: 'inv-abd' },
      { inviterPin: 'ac'.repeat(32) },
      { joinerPin: 'ce'.repeat(32) },
      { inviterClusterID: 'c' },
      { joinerClusterID: 'c' },
      { inviterName: 'west' },
      { joinerName: 'hom' },
      { joinerClusterUID: '' },
      { offeredProtocol: { min: 1, max: 1 } },
      { offeredFeatures: ['xy'] },
      { chosenProtocol: 2 },
      { chosenFeatures: [] },
      { roles: ['Provider'] },
      { exporter: Buffer.alloc(32, 2) },
    ];
    expect(new Set(changes.flatMap((c) => Object.keys(c)))).toEqual(new Set(Object.keys(transcript)));
    for (const change of changes) {
      expect(verifyTranscript('invite', { ...transcript, ...change }, publicKey, signature)).toBe(false);
    }
  });

  it('has different bytes for different lists', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.array(fc.string()), (a, b) => {
        const bytes = (offeredFeatures: readonly string[], chosenFeatures: readonly string[]): string =>
          transcriptBytes('joiner', { ...transcript, offeredFeatures, chosenFeatures }).toString('hex');
        expect(bytes(a, b) === bytes(b, a)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });
});

describe('endpointsOf', () => {
  const node = (name: string, labels: Record<string, string>, ...addresses: [string, string][]) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    spec: {},
    status: { addresses: addresses.map(([type, address]) => ({ type, address })) },
  });
  const service = (spec: object, rest: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'fluvia-peering', ...rest },
    spec: { ports: [{ name: 'peering', port: 9443, nodePort: 31000 }], ...spec },
  });
  const nodes = [
    node('a', {}, ['InternalIP', '10.0.0.1'], ['ExternalIP', '192.0.2.1']),
    node('v', { 'fluvia.dev/virtual-node': 'true' }, ['InternalIP', '10.0.0.9']),
    node('b', {}, ['InternalIP', 'fd00::2']),
  ];

  it('lists external before internal addresses of real nodes, at the node port', () => {
    expect(endpointsOf(service({}), nodes)).toEqual(['192.0.2.1:31000', '10.0.0.1:31000', '[fd00::2]:31000']);
  });

  it('prefers what the administrator named', () => {
    const annotations = { 'fluvia.dev/peering-endpoints': 'east.example.org:443,192.0.2.7:1' };
    expect(endpointsOf(service({}, { annotations }), nodes)).toEqual(['east.example.org:443', '192.0.2.7:1']);
  });
});
