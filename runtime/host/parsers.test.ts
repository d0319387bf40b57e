import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { execTool, HostToolError } from './exec.ts';
import { parseDestinations, parseIpJson, parseLinks, parseRoutes, parseRules } from './ip.ts';
import { parseNftTable } from './nft.ts';
import { formatWgSet, parseWgDump } from './wg.ts';

/** Whatever comes in, a parser gives a value or a HostToolError. */
const isTotal = (parse: (text: string) => unknown, input: fc.Arbitrary<string>): boolean => {
  fc.assert(
    fc.property(input, (text) => {
      try {
        parse(text);
      } catch (error) {
        expect(error).toBeInstanceOf(HostToolError);
      }
    }),
    { numRuns: 300 },
  );
  return true;
};

describe('parseWgDump', () => {
  const dump = [
    'fluvia0\tcHJpdmF0ZQ==\tcHVibGlj\t51820\toff',
    'fluvia0\tpeer1\t(none)\t203.0.113.1:51820\t10.61.0.0/16,10.62.0.0/16\t1764032400\t92\t180\t25',
    'fluvia0\tpeer2\tpsk\t(none)\t(none)\t0\t0\t0\toff',
    '',
  ].join('\n');

  it('reads devices and peers, without private keys', () => {
    const devices = parseWgDump(dump);
    expect(devices).toEqual([
      {
        name: 'fluvia0',
        publicKey: 'cHVibGlj',
        listenPort: 51820,
        peers: [
          {
            publicKey: 'peer1',
            endpoint: '203.0.113.1:51820',
            allowedIPs: ['10.61.0.0/16', '10.62.0.0/16'],
            latestHandshake: 1764032400,
            rxBytes: 92,
            txBytes: 180,
            persistentKeepalive: 25,
          },
          {
            publicKey: 'peer2',
            endpoint: undefined,
            allowedIPs: [],
            latestHandshake: 0,
            rxBytes: 0,
            txBytes: 0,
            persistentKeepalive: 0,
          },
        ],
      },
    ]);
    expect(JSON.stringify(devices)).not.toContain('cHJpdmF0ZQ');
    expect(JSON.stringify(devices)).not.toContain('psk');
  });

  it('never repeats a line that it cannot read: it may hold a key', () => {
    expect(() => parseWgDump('fluvia0\tsecretkey\tx')).toThrow(/3 fields/);
    expect(() => parseWgDump('fluvia0\tsecretkey\tx')).not.toThrow(/secretkey/);
  });

  it('takes any input', () => {
    expect(isTotal(parseWgDump, fc.string())).toBe(true);
    const field = fc.constantFrom('fluvia0', '(none)', 'off', '-1', '1e99', '', 'a,b', '9999999999999999999');
    expect(
      isTotal(
        parseWgDump,
        fc.array(fc.array(field, { maxLength: 10 }).map((f) => f.join('\t'))).map((l) => l.join('\n')),
      ),
    ).toBe(true);
  });
});

describe('formatWgSet', () => {
  it('writes only what changes', () => {
    expect(
      formatWgSet({
        device: 'fluvia0',
        listenPort: 51820,
        peers: [
          { publicKey: 'old', remove: true },
          { publicKey: 'new', endpoint: '1.2.3.4:5', allowedIPs: ['10.0.0.0/8', '10.1.0.0/16'] },
        ],
      }).join(' '),
    ).toBe(
      'set fluvia0 listen-port 51820 peer old remove peer new endpoint 1.2.3.4:5 allowed-ips 10.0.0.0/8,10.1.0.0/16',
    );
  });
});

describe('parseNftTable', () => {
  it('takes any input', () => {
    expect(isTotal(parseNftTable, fc.string())).toBe(true);
    expect(isTotal(parseNftTable, fc.json())).toBe(true);
    const item = fc.constantFrom('chain', 'rule', 'set', 'map', 'metainfo');
    expect(
      isTotal(
        parseNftTable,
        fc
          .array(fc.tuple(item, fc.jsonValue()))
          .map((all) => JSON.stringify({ nftables: all.map(([k, v]) => ({ [k]: v })) })),
      ),
    ).toBe(true);
  });
});

describe('parsers of iproute2', () => {
  it('take any input', () => {
    const destinations = (text: string): unknown => parseDestinations(text, 84);
    for (const parse of [parseIpJson, parseLinks, parseRoutes, parseRules, destinations]) {
      expect(isTotal(parse, fc.string())).toBe(true);
      expect(isTotal(parse, fc.json())).toBe(true);
    }
  });

  it('read a route with everything', () => {
    const text =
      '[{"type":"unicast","dst":"10.129.0.0/16","gateway":"10.70.0.2","dev":"fluvia-vx","table":"main","scope":"global","prefsrc":"10.70.0.1","flags":["onlink"],"metrics":[{"mtu":1420}]},{"type":"unreachable","dst":"10.128.0.0/16","table":"main","metric":4294967294}]';
    expect(parseRoutes(text)).toEqual([
      {
        type: 'unicast',
        destination: '10.129.0.0/16',
        table: 'main',
        device: 'fluvia-vx',
        gateway: '10.70.0.2',
        source: '10.70.0.1',
        metric: undefined,
        mtu: 1420,
      },
      {
        type: 'unreachable',
        destination: '10.128.0.0/16',
        table: 'main',
        device: undefined,
        gateway: undefined,
        source: undefined,
        metric: 4294967294,
        mtu: undefined,
      },
    ]);
  });
});

describe('parseDestinations', () => {
  it('reads where a node has routes to that are not ours', () => {
    const text =
      '[{"dst":"default","gateway":"192.168.7.1","dev":"eth0","flags":[]},{"dst":"10.20.0.0/16","dev":"wg-office","scope":"link","flags":[]},{"dst":"192.168.7.0/24","dev":"eth0","protocol":"kernel","flags":[]},{"dst":"10.61.0.0/16","dev":"fluvia0","protocol":"84","flags":[]},{"type":"unreachable","dst":"10.62.0.0/16","dev":"lo","flags":[]}]';
    expect(parseDestinations(text, 84)).toEqual(['default', '10.20.0.0/16', '192.168.7.0/24']);
  });
});

describe('execTool', () => {
  it('gives the output of a tool that was fed', async () => {
    expect(await execTool('cat', [], { input: 'a\n' })).toBe('a\n');
  });

  it('says which tool is missing', async () => {
    const error = await execTool('fluvia-no-such-tool', []).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HostToolError);
    expect((error as HostToolError).isMissing).toBe(true);
    expect((error as HostToolError).message).toBe('fluvia-no-such-tool is not installed');
  });

  it('passes on the exit code and the end of stderr', async () => {
    const error = await execTool('sh', ['-c', 'echo no >&2; exit 3']).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ exitCode: 3, stderr: 'no\n' });
  });

  it('kills what takes too long or writes too much', async () => {
    await expect(execTool('sleep', ['5'], { timeoutMs: 50 })).rejects.toThrow(/within 50 ms/);
    await expect(execTool('cat', ['/dev/zero'], { maxOutputBytes: 1000 })).rejects.toThrow(/more than 1000/);
  });
});
