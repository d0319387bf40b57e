/** The only place that starts processes: argv without a shell, English output, a time limit and a cap on what is kept. */
import { spawn } from 'node:child_process';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

export interface ExecOptions {
  /** Written to the process's standard input, then closed. */
  readonly input?: string | undefined;
  /** Default 15 s; then the process is killed. */
  readonly timeoutMs?: number | undefined;
  /** Most bytes of standard output; more is an error. Default 64 MiB. */
  readonly maxOutputBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Working directory; default this process's. */
  readonly cwd?: string | undefined;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Gets each line of standard output as it comes; nothing is kept then, and the result is empty. */
  readonly onLine?: ((line: string) => void) | undefined;
  /** Sent when `signal` aborts; SIGKILL follows after 10 s. Default SIGKILL. */
  readonly abortSignal?: 'SIGINT' | 'SIGTERM' | undefined;
}

/** Runs a program to its end and gives its standard output. Rejects with HOST_TOOL; see {@link HostToolError}. */
export type Exec = (command: string, args: readonly string[], options?: ExecOptions) => Promise<string>;

/** HostToolError is a failed run of a tool; `isMissing` when the machine doesn't have the tool. */
export class HostToolError extends FluviaError {
  readonly tool: string;
  readonly exitCode: number | undefined;
  readonly stderr: string;
  readonly isMissing: boolean;

  constructor(
    tool: string,
    message: string,
    options: { exitCode?: number | undefined; stderr?: string; isMissing?: boolean; cause?: unknown } = {},
  ) {
    super(ERROR_CODES.HOST_TOOL, message, {
      kind: options.isMissing ? 'stalled' : 'waiting',
      ...(options.isMissing ? { hint: `put ${tool} into the PATH of this node or image` } : {}),
      cause: options.cause,
    });
    this.name = 'HostToolError';
    this.tool = tool;
    this.exitCode = options.exitCode;
    this.stderr = options.stderr ?? '';
    this.isMissing = options.isMissing ?? false;
  }
}

const STDERR_TAIL = 2000;

/** execTool runs a program of this machine (PATH), with `LC_ALL=C`. */
export const execTool: Exec = (command, args, options = {}) =>
  new Promise((resolve, reject) => {
    const { timeoutMs = 15_000, maxOutputBytes = 64 * 2 ** 20, signal, input } = options;
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const child = spawn(command, args, {
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      cwd: options.cwd,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    let stderr = '';
    let failure: HostToolError | undefined;
    const kill = (error: HostToolError): void => {
      failure ??= error;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(
      () => kill(new HostToolError(command, `${command} did not end within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const onAbort = (): void => {
      const error = new HostToolError(command, `${command} was stopped`);
      if (options.abortSignal === undefined) return kill(error);
      failure ??= error;
      child.kill(options.abortSignal);
      setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
    };
    let partial = '';
    const feed = (chunk: Buffer, onLine: (line: string) => void): void => {
      const lines = (partial + chunk.toString()).split('\n');
      partial = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      if (options.onLine !== undefined) return feed(chunk, options.onLine);
      bytes += chunk.length;
      if (bytes > maxOutputBytes) {
        kill(new HostToolError(command, `${command} wrote more than ${maxOutputBytes} bytes`));
      } else {
        chunks.push(chunk);
      }
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-STDERR_TAIL);
    });
    // A tool that ends without reading all of its input is judged by its exit code, not by EPIPE.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
    const finish = (error: HostToolError | undefined): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (partial !== '') options.onLine?.(partial);
      if (error) reject(error);
      else resolve(Buffer.concat(chunks).toString());
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      const isMissing = cause.code === 'ENOENT';
      const why = isMissing ? 'is not installed' : `could not be started: ${cause.message}`;
      finish(new HostToolError(command, `${command} ${why}`, { isMissing, cause }));
    });
    child.on('close', (code, killedBy) => {
      const ended = killedBy === null ? `exit code ${code}` : killedBy;
      finish(
        failure ??
          (code === 0
            ? undefined
            : new HostToolError(
                command,
                `${command} ${args.slice(0, 6).join(' ')}: ${stderr.trim() || ended}`,
                { exitCode: code ?? undefined, stderr },
              )),
      );
    });
  });
