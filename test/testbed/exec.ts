/** Programs of the host: run, wait, and say what failed. The only place of the testbed that starts short-lived ones. */
import { spawn } from 'node:child_process';
import { TestbedError } from './errors.ts';

export interface RunOptions {
  /** Written to its standard input. */
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Milliseconds after which it is killed; none by default. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and returns what it said, whatever its exit code (128 when a signal ended it). */
export const tryRun = (
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 128, stdout, stderr }));
    // a program that ends without reading its input is no error of ours
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });

/** Like {@link tryRun}, but an exit code other than 0 is an error that carries the program's last words. */
export const run = async (
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> => {
  const { code, stdout, stderr } = await tryRun(command, args, options);
  if (code !== 0) {
    const words = (stderr.trim() || stdout.trim()).split('\n').slice(-4).join('; ');
    throw new TestbedError(
      `\`${[command, ...args].join(' ')}\` exited ${code}: ${words}`,
      'See the message above.',
    );
  }
  return stdout;
};

/** Runs a program on this terminal and returns its exit code. */
export const runAttached = (
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 128));
  });
