import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, it, vi } from 'vitest';
import { freePort } from './free-port.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

it('gives no port twice, though nobody listens at the first yet', async () => {
  const dice = vi.spyOn(Math, 'random').mockReturnValueOnce(0.25).mockReturnValueOnce(0.25);
  const [first, second] = [await freePort(), await freePort()];
  expect(dice.mock.calls.length).toBeGreaterThanOrEqual(2);
  expect(second).not.toBe(first);
});

it('gives no port that another process was given', async () => {
  const code = `Math.random = () => 0.75;
    const { freePort } = await import('${new URL('free-port.ts', import.meta.url).href}');
    console.log(await freePort());
    process.stdin.resume();`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const [line] = (await once(other.stdout, 'data')) as [Buffer];
    vi.spyOn(Math, 'random').mockReturnValueOnce(0.75);
    expect(await freePort()).not.toBe(Number(String(line)));
  } finally {
    other.stdin.end();
    await once(other, 'exit');
  }
});
