import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from './lock.ts';
import { identify, sleep } from './processes.ts';

describe('withLock', () => {
  let room = '';
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'fluvia-lock-'));
  });
  afterEach(() => rmSync(room, { recursive: true }));

  it('lets one at a time in and leaves no file', async () => {
    const path = join(room, 'sub', 'lock');
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await sleep(5);
      inside--;
    };
    await Promise.all(Array.from({ length: 8 }, () => withLock(path, work)));
    expect(most).toBe(1);
    expect(readdirSync(join(room, 'sub'))).toEqual([]);
  });

  it('is free again after a failure', async () => {
    const path = join(room, 'lock');
    await expect(withLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(existsSync(path)).toBe(false);
  });

  it('breaks the lock of a dead process, also when its pid runs again', async () => {
    const child = spawn('sleep', ['60']);
    const id = identify(child.pid ?? 0);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const path = join(room, 'lock');
    writeFileSync(path, JSON.stringify(id));
    expect(await withLock(path, () => Promise.resolve('mine'))).toBe('mine');
    writeFileSync(path, JSON.stringify({ pid: process.pid, startTime: '1' }));
    expect(await withLock(path, () => Promise.resolve('mine'))).toBe('mine');
  });

  it('waits for a living process, saying for whom', async () => {
    const path = join(room, 'lock');
    writeFileSync(path, JSON.stringify(identify(process.pid)));
    const waited: number[] = [];
    const result = withLock(path, () => Promise.resolve('mine'), { onWait: (pid) => waited.push(pid) });
    await sleep(50);
    rmSync(path);
    expect(await result).toBe('mine');
    expect(waited).toEqual([process.pid]);
  });
});
