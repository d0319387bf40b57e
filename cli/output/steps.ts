import { safeLine, safeText } from './safe-text.ts';
import type { Terminal } from './terminal.ts';

/** Runs the steps of a command and shows each with its outcome and how long it took. */
export interface Steps {
  /** Runs `work`; `note` shows what it waits for. A failed step is shown and its error thrown on. */
  run<T>(title: string, work: (note: (text: string) => void) => Promise<T>): Promise<T>;
  /** A line that is no step. */
  say(text: string): void;
  warn(text: string): void;
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;

/** A duration as people read it: `85ms`, `1.2s`, `2m05s`. */
export const formatDuration = (ms: number): string => {
  if (ms < 1000) {
    return `${Math.round(ms)}ms`;
  }
  if (ms < 60_000) {
    return `${(ms / 1000).toFixed(1)}s`;
  }
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
};

/** Steps on a terminal: a line that moves while a step runs; when piped, one plain line for each step that ended. */
export const createSteps = (terminal: Terminal, now: () => number = () => performance.now()): Steps => ({
  run: async (title, work) => {
    const start = now();
    let noted = '';
    let frame = 0;
    const draw = (): void => {
      frame += 1;
      const suffix = noted === '' ? '' : terminal.style('dim', ` ${noted}`);
      terminal.err(`\r\u001B[K${FRAMES[frame % FRAMES.length] ?? ''} ${title}${suffix}`);
    };
    const timer = terminal.isInteractive ? setInterval(draw, 100) : undefined;
    const end = (mark: string): void => {
      clearInterval(timer);
      const duration = terminal.style('dim', `(${formatDuration(now() - start)})`);
      terminal.err(`${terminal.isInteractive ? '\r\u001B[K' : ''}${mark} ${title} ${duration}\n`);
    };
    try {
      const result = await work((text) => {
        noted = safeLine(text);
      });
      end(terminal.style('green', '✓'));
      return result;
    } catch (error) {
      end(terminal.style('red', '✗'));
      throw error;
    }
  },
  say: (text) => terminal.err(`${safeText(text)}\n`),
  warn: (text) => terminal.err(`${terminal.style('yellow', '!')} ${safeText(text)}\n`),
});
