import { createInterface } from 'node:readline/promises';
import { usageError } from './exit.ts';
import type { CliContext } from './context.ts';

/**
 * Asks a yes/no question on the terminal. Throws a usage error where there is none: scripts say `--yes`.
 */
export const confirm = async (cli: CliContext, question: string): Promise<boolean> => {
  if (!process.stdin.isTTY) {
    throw usageError('this asks before it goes on, and there is no terminal to ask on', 'give --yes');
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`${question} [y/N] `, { signal: cli.signal });
    return /^y(?:es)?$/i.test(answer.trim());
  } finally {
    prompt.close();
  }
};
