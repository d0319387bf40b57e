import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { freePort } from '../test/support/free-port.ts';

/** Writes a line per life: its pid, its arguments, what it remembers; takes a port that an earlier life would still hold. */
const program = `
  import { appendFileSync, readFileSync } from 'node:fs';
  import { createServer } from 'node:net';
  import { beginAnew } from '${new URL('begin-anew.ts', import.meta.url).href}';
  import { silentLogger } from '${new URL('log.ts', import.meta.url).href}';

  const [file, ...rest] = process.argv.slice(2);
  appendFileSync(file, [process.pid, rest.join(','), globalThis.memory ?? 'nothing'].join(' ') + '\\n');
  globalThis.memory = 'an earlier life';
  const server = createServer().listen(Number(process.env.PORT), '127.0.0.1', () => {
    if (readFileSync(file, 'utf8').split('\\n').length < 4) beginAnew(silentLogger, 'test');
    server.close();
  });
`;

describe('beginning anew', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'fluvia-anew-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('keeps pid and arguments, and nothing of its memory and sockets', async () => {
    const [script, lives] = [join(folder, 'program.ts'), join(folder, 'lives')];
    writeFileSync(script, program);
    execFileSync(process.execPath, [script, lives, 'a', 'b c'], {
      env: { ...process.env, PORT: String(await freePort()) },
      timeout: 60_000,
    });
    const lines = readFileSync(lives, 'utf8').trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(new Set(lines).size).toBe(1);
    expect(lines[0]).toMatch(/^\d+ a,b c nothing$/);
  });
});
