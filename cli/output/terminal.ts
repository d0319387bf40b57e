import { styleText } from 'node:util';

/** Where output goes; a seam for tests. */
export interface Terminal {
  /** Results, for people and pipes. */
  out(text: string): void;
  /** Progress and errors. */
  err(text: string): void;
  /** Whether `err` is a terminal on which a line can be drawn again. */
  readonly isInteractive: boolean;
  /** Colours text if whoever reads it sees colours. */
  style(format: 'green' | 'red' | 'yellow' | 'dim' | 'bold', text: string): string;
}

/** The process's own terminal; NO_COLOR and pipes are respected. */
export const processTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isInteractive: process.stderr.isTTY && process.env['CI'] === undefined,
  style: (format, text) => styleText(format, text, { stream: process.stderr }),
};
