import { spawn } from 'node:child_process';
import { join } from 'node:path';

/** The CLI as a user starts it from a checkout. */
export const FLUVIACTL = join(import.meta.dirname, '../../cli/fluviactl');

/** What a command printed and how it ended. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link runCommand}. */
export interface RunOptions {
  readonly input?: string;
  readonly signal?: AbortSignal;
  /** Called with each line as it is printed, stdout and stderr alike. */
  readonly onLine?: (line: string) => void;
  readonly timeoutMs?: number;
}

/** Runs a command to its end; never throws for an exit code. */
export const runCommand = (
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<CommandResult> =>
  new Promise((resolve, reject) => {
    const signals = [
      options.signal,
      options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs),
    ];
    const signal = AbortSignal.any(signals.filter((s) => s !== undefined));
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], signal });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      let rest = '';
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        output[name] += chunk;
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        lines.forEach((line) => options.onLine?.(line));
      });
    }
    child.stdin.on('error', () => undefined); // the command may end without reading its input
    child.stdin.end(options.input ?? '');
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, ...output }));
  });

/** Runs fluviactl; throws with its output when it fails. */
export const fluviactl = async (args: readonly string[], options: RunOptions = {}): Promise<string> => {
  const result = await runCommand(FLUVIACTL, args, options);
  if (result.code !== 0) {
    throw new Error(
      `fluviactl ${args.join(' ')} exited ${result.code}: ${result.stderr.trim() || result.stdout.trim()}`,
    );
  }
  return result.stdout;
};

/** Calls `attempt` until it returns something other than undefined; throws with the last error after `timeoutMs`. */
export const eventually = async <T>(
  what: string,
  attempt: () => Promise<T | undefined>,
  timeoutMs = 60_000,
  intervalMs = 500,
): Promise<T> => {
  const end = Date.now() + timeoutMs;
  let last = 'it never became true';
  while (Date.now() < end) {
    try {
      const value = await attempt();
      if (value !== undefined) {
        return value;
      }
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
  throw new Error(`${what}: not within ${timeoutMs / 1000} s: ${last}`);
};
