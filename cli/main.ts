/** `fluviactl`, and `kubectl fluvia` where it is installed under the name kubectl-fluvia. */
import { text } from 'node:stream/consumers';
import { createContext } from './context.ts';
import { processTerminal } from './output/terminal.ts';
import { runCli } from './program.ts';

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
process.once('SIGTERM', () => interrupted.abort());
// a reader that has seen enough (`| head`) is no error
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const isPlugin = process.env['FLUVIACTL_NAME'] === 'kubectl-fluvia';
process.exitCode = await runCli(
  process.argv.slice(2),
  createContext({
    terminal: processTerminal,
    env: process.env,
    signal: interrupted.signal,
    program: isPlugin ? 'kubectl fluvia' : 'fluviactl',
    readInput: () => text(process.stdin),
  }),
);
