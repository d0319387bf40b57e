import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createContext } from './context.ts';
import type { Terminal } from './output/terminal.ts';
import { createProgram, runCli } from './program.ts';

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const context = (sink: { out: string; err: string }, input = '', signal = new AbortController().signal) => {
  const terminal: Terminal = {
    out: (text) => {
      sink.out += text;
    },
    err: (text) => {
      sink.err += text;
    },
    isInteractive: false,
    style: (_, text) => text,
  };
  return createContext({ terminal, env: {}, signal, program: 'fluviactl', readInput: async () => input });
};

const run = async (argv: readonly string[], input = ''): Promise<Outcome> => {
  const sink = { out: '', err: '' };
  const code = await runCli(argv, context(sink, input));
  return { code, ...sink };
};

let folder = '';
let unreachable = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fluvia-cli-'));
  unreachable = join(folder, 'unreachable.conf');
  // port 1 of loopback: refused at once
  writeFileSync(
    unreachable,
    JSON.stringify({
      'current-context': 'x',
      clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
      users: [{ name: 'u', user: { token: 'never-shown' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    }),
  );
  writeFileSync(join(folder, 'garbage.conf'), '- not a kubeconfig');
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('errors are one line and a next step', () => {
  it.each([
    ['an unknown command', ['instal'], /unknown command 'instal'/, /--help/],
    ['an unknown flag', ['install', '--nope'], /unknown option '--nope'/, /install --help/],
    ['a bad duration', ['install', '--timeout', 'soon'], /write a duration/, /install --help/],
    [
      'a bad role',
      ['peer', '--role', 'friend'],
      /Allowed choices are provider, consumer, both/,
      /peer --help/,
    ],
    ['peer without the other cluster', ['peer'], /other cluster is not given/, /--remote-kubeconfig/],
    ['a missing argument', ['unpeer'], /missing required argument 'peer'/, /unpeer --help/],
    ['an unknown kind', ['get', 'pods'], /no kind "pods"/, /peers/],
    ['an unknown format', ['info', '-o', 'xml'], /no output format "xml"/, /json, yaml/],
    ['a namespaced object without its namespace', ['get', 'shadowpods', 'x'], /namespaced/, /-n NAMESPACE/],
    ['explain of what is no pod', ['explain', 'pod', 'web-0'], /names no pod/, /NAMESPACE\/NAME/],
    ['an unknown shell', ['completion', 'tcsh'], /no completion for "tcsh"/, /bash, zsh, fish/],
    ['an invite in an argument', ['join', 'fluvia1.abc'], /an invite is a secret/, /fluviactl join -/],
    ['an invite that is no file', ['join', '/nowhere/invite'], /can't be read/, /standard input/],
    ['a kubeconfig that is not there', ['status', '--kubeconfig', '/nowhere'], /\/nowhere/, /kubeconfig/],
  ])('%s', async (_, argv, error, next) => {
    const { code, out, err } = await run(argv);
    expect(code).toBe(2);
    expect(out).toBe('');
    const [first = '', second = '', ...rest] = err.trimEnd().split('\n');
    expect(first).toMatch(/^Error: /);
    expect(first).toMatch(error);
    expect(second).toMatch(/^Next: {2}/);
    expect(second).toMatch(next);
    expect(rest).toEqual([]);
  });

  it('a file that is no kubeconfig', async () => {
    const { code, err } = await run(['status', '--kubeconfig', join(folder, 'garbage.conf')]);
    expect(code).toBe(2);
    expect(err).toContain('it is not a kubeconfig');
  });

  it('a cluster that does not answer: says where, shows no credential', async () => {
    for (const argv of [['install', '--cluster-name', 'x'], ['uninstall', '--yes'], ['info'], ['invite']]) {
      const { code, err } = await run([...argv, '--kubeconfig', unreachable]);
      expect(code).toBe(1);
      expect(err).toContain('127.0.0.1:1');
      expect(err).toContain('Next:  check that the cluster runs');
      expect(err.trimEnd().split('\n')).toHaveLength(2);
      expect(err).not.toContain('never-shown');
    }
  });

  it('an interrupted command says that it can be run again', async () => {
    const sink = { out: '', err: '' };
    const stop = new AbortController();
    stop.abort();
    expect(await runCli(['info', '--kubeconfig', unreachable], context(sink, '', stop.signal))).toBe(130);
    expect(sink.err).toContain('Run the same command again');
  });
});

describe('help', () => {
  const program = createProgram(context({ out: '', err: '' }));
  const all = (command: typeof program): (typeof program)[] => [
    command,
    ...command.commands.flatMap((c) => all(c)),
  ];

  it('exits 0, nothing but usage exits 2, and both show the commands', async () => {
    const help = await run(['--help']);
    expect(help.code).toBe(0);
    expect(help.out).toContain('Exit codes: 0 done');
    const none = await run([]);
    expect(none.code).toBe(2);
    expect(none.err).toContain('Usage: fluviactl');
  });

  it('describes every command and flag', () => {
    for (const command of all(program)) {
      expect(command.description()).not.toBe('');
      expect(command.options.filter((option) => option.description === '')).toEqual([]);
    }
  });

  it('is documented: docs/cli.md names every command and exit code', () => {
    const page = readFileSync(join(import.meta.dirname, '../docs/cli.md'), 'utf8');
    for (const command of program.commands) {
      expect(page).toContain(`fluviactl ${command.name()}`);
    }
    for (const code of [0, 1, 2, 3, 130]) {
      expect(page).toMatch(new RegExp(`\\| ${code} \\|`));
    }
  });

  it('takes no secret as a flag', () => {
    const flags = all(program).flatMap((command) => command.options.map((option) => option.long));
    // the name of a Secret is none
    const open = flags.filter((flag) => flag !== '--s3-secret');
    expect(open.filter((flag) => /token|seed|password|secret/.test(flag ?? ''))).toEqual([]);
  });
});

describe('as a plugin of kubectl', () => {
  it('is called by that name in help and hints', () => {
    const plugin = join(folder, 'kubectl-fluvia');
    symlinkSync(join(import.meta.dirname, 'fluviactl'), plugin);
    const help = execFileSync(plugin, ['peer', '--help'], { encoding: 'utf8' });
    expect(help).toContain('Usage: kubectl fluvia peer [options]');
    const { status, stderr } = spawnSync(plugin, ['join', '/nowhere/invite'], { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).not.toContain('fluviactl');
    const wrong = spawnSync(plugin, ['join', 'fluvia1.abc'], { encoding: 'utf8' });
    expect(wrong.stderr).toContain('kubectl fluvia join - < FILE');
  });
});

describe('completion', () => {
  it.each(['bash', 'zsh', 'fish'])(
    'of %s knows commands, what is below them and their flags',
    async (shell) => {
      const { code, out } = await run(['completion', shell]);
      expect(code).toBe(0);
      for (const word of ['install', 'unoffload', 'namespace', 'remote-kubeconfig', 'pod-cidr']) {
        expect(out).toContain(word);
      }
    },
  );
});
