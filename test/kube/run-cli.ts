import { createContext } from '../../cli/context.ts';
import { runCli } from '../../cli/program.ts';

/** What a command wrote and how it ended. */
export interface CliOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs fluviactl in this process against the cluster of `kubeconfig`. */
export const runIn = async (kubeconfig: string, argv: readonly string[], input = ''): Promise<CliOutcome> => {
  const sink = { out: '', err: '' };
  const terminal = {
    out: (text: string) => void (sink.out += text),
    err: (text: string) => void (sink.err += text),
    isInteractive: false,
    style: (_: string, text: string) => text,
  };
  const context = createContext({
    terminal,
    env: {},
    signal: new AbortController().signal,
    program: 'fluviactl',
    readInput: async () => input,
  });
  const code = await runCli([...argv, '--kubeconfig', kubeconfig], context);
  return { code, ...sink };
};

/** Flags with which `install` needs to find out nothing and waits for nothing. */
export const INSTALL_FLAGS = [
  '--cluster-name',
  'home',
  '--image',
  'fluvia.local/fluvia:test',
  '--pod-cidr',
  '10.244.0.0/16',
  '--no-wait',
] as const;

/** Installs Fluvia; nothing of it runs, since there are no nodes. Throws with what the command said. */
export const installIn = async (kubeconfig: string): Promise<void> => {
  const { code, err } = await runIn(kubeconfig, ['install', ...INSTALL_FLAGS]);
  if (code !== 0) throw new Error(err);
};
