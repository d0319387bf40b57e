import { describe, expect, it } from 'vitest';

import { createLogger, type LogLevel } from './log.ts';

const capture = (level: LogLevel = 'info') => {
  const lines: string[] = [];
  const log = createLogger({ level, write: (line) => void lines.push(line), now: () => 0 });
  return { log, lines, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
};

describe('log', () => {
  it('writes one JSON line with time, level, own and inherited fields', () => {
    const { log, lines, parsed } = capture();
    log.child({ controller: 'x' }).info('hello', { key: 'a/b' });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.endsWith('\n')).toBe(true);
    expect(parsed()[0]).toEqual({
      level: 'info',
      time: '1970-01-01T00:00:00.000Z',
      controller: 'x',
      key: 'a/b',
      msg: 'hello',
    });
  });

  it('drops what is below its level', () => {
    const { log, lines } = capture('warn');
    log.info('no');
    log.error('yes');
    expect(lines).toHaveLength(1);
  });

  it('replaces secrets at any depth, whatever their case', () => {
    const { log, lines } = capture();
    const secret = 'hunter2';
    log.info('x', {
      token: secret,
      headers: {
        Authorization: secret,
        list: [{ bearerToken: secret, privateKey: secret, dbPassword: secret }],
      },
    });
    expect(lines.join('')).not.toContain(secret);
    expect(lines.join('')).toContain('<redacted>');
  });

  it('writes errors with code and cause, and survives cycles', () => {
    const { log, parsed } = capture();
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    const err = Object.assign(new Error('outer', { cause: new Error('inner') }), { code: 'FLUVIA_ERR_X' });
    log.error('failed', { err, cyclic, big: 1n, bytes: Buffer.from('abc') });
    expect(parsed()[0]).toMatchObject({
      err: { message: 'outer', code: 'FLUVIA_ERR_X', cause: { message: 'inner' } },
      big: '1',
      bytes: '<3 bytes>',
    });
  });
});
