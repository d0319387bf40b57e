import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { testbedsRoot } from './paths.ts';
import { lockPath } from './state.ts';
import { Testbed } from './testbed.ts';

it('takes away what an `up` left that was killed before it had the lock', async ({ onTestFinished }) => {
  const room = mkdtempSync(join(tmpdir(), 'fluvia-down-'));
  vi.stubEnv('XDG_STATE_HOME', room);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(room, { recursive: true });
  });
  const child = spawn('sleep', ['60']);
  child.kill('SIGKILL');
  await once(child, 'exit');
  mkdirSync(testbedsRoot(), { recursive: true });
  expect(testbedsRoot().startsWith(room)).toBe(true);
  writeFileSync(`${lockPath('t')}.${child.pid ?? 0}.0`, '');
  await Testbed.down('t');
  expect(existsSync(dirname(testbedsRoot()))).toBe(false);
});
