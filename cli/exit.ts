import { CommanderError } from 'commander';
import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';
import { ApiError } from '../runtime/kube/errors.ts';
import { safeLine } from './output/safe-text.ts';

/** Exit codes; documented in docs/cli.md and by `fluviactl help`. */
export const EXIT = { ok: 0, failed: 1, usage: 2, degraded: 3 } as const;

/** What a person is told of an error: one line, and what to do next. */
export interface Report {
  readonly line: string;
  readonly next: string | undefined;
  readonly exitCode: number;
}

/** Thrown by a command that did its work and found the fabric degraded; its output was written already. */
export class DegradedError extends Error {
  override readonly name = 'DegradedError';
}

const oneLine = (text: string): string => safeLine(text.replaceAll(/\s*\n\s*/g, '; ').trim());

const ofApiError = (error: ApiError): Report => {
  const line = oneLine(error.message);
  const next: Readonly<Record<number, string>> = {
    0: 'Check that the API server of the kubeconfig runs and can be reached from here.',
    401: 'The API server does not accept these credentials: renew them, or give another --kubeconfig or --context.',
    403: 'Use a kubeconfig whose user may do this; install and uninstall need cluster-admin.',
    404: 'Is Fluvia installed there? Run: fluviactl status',
    409: 'Someone else changed it at the same time, or owns it: look at it and run the command again.',
  };
  return {
    line,
    next: next[error.status] ?? (error.status >= 500 ? 'Try again in a moment.' : undefined),
    exitCode: EXIT.failed,
  };
};

/** The report of anything that a command threw. Never shows a stack. */
export const reportOf = (error: unknown): Report => {
  if (error instanceof CommanderError) {
    const isHelp = error.exitCode === 0;
    return {
      line: oneLine(error.message.replace(/^error: /, '')),
      next: undefined,
      exitCode: isHelp ? EXIT.ok : EXIT.usage,
    };
  }
  if (error instanceof FluviaError) {
    const isUsage = error.code === ERROR_CODES.BAD_INPUT;
    return {
      line: oneLine(error.message),
      next: error.hint && safeLine(error.hint),
      exitCode: isUsage ? EXIT.usage : EXIT.failed,
    };
  }
  if (error instanceof ApiError) {
    return ofApiError(error);
  }
  return { line: oneLine(messageOf(error)), next: undefined, exitCode: EXIT.failed };
};

/** A usage error: what was wrong with the arguments, and what to write instead. */
export const usageError = (message: string, hint: string): FluviaError =>
  new FluviaError(ERROR_CODES.BAD_INPUT, message, { kind: 'terminal', hint });
