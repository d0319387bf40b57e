/** The command line of the testbed, parsed without touching anything. */
import { TestbedError } from './errors.ts';
import type { ClusterShape } from './plan-addresses.ts';

export type Command =
  | {
      readonly verb: 'up';
      readonly name: string;
      readonly shape: readonly ClusterShape[];
      readonly storage: boolean;
    }
  | { readonly verb: 'down'; readonly name: string; readonly all: boolean }
  | { readonly verb: 'status'; readonly name: string; readonly output: 'text' | 'json' }
  | { readonly verb: 'kubeconfig'; readonly name: string; readonly cluster: string }
  | {
      readonly verb: 'kubectl' | 'exec';
      readonly name: string;
      readonly target: string;
      readonly args: readonly string[];
    }
  | { readonly verb: 'load'; readonly name: string; readonly cluster: string; readonly image: string }
  | { readonly verb: 'partition' | 'heal'; readonly name: string; readonly a: string; readonly b: string }
  | { readonly verb: 'start' | 'stop' | 'kill'; readonly name: string; readonly target: string }
  | { readonly verb: 'help' };

export const USAGE = `usage: npm run testbed -- VERB [--name NAME] ...
  up [--clusters home,east,west] [--nodes 1,2,1] [--storage]
                                                   make it, or make it whole again; --storage: with volumes
  down [--all]                                     take it away with everything it made
  status [-o json]
  kubeconfig CLUSTER                               print the path of its kubeconfig
  kubectl CLUSTER ARGS...
  exec CLUSTER/NODE COMMAND...                     in that node's namespaces; NODE is its name or number
  load CLUSTER IMAGE.tar                           an OCI archive, onto all nodes of the cluster
  partition A B, heal A B                          cut the underlay between two clusters or nodes
  stop|start|kill CLUSTER[/NODE]                   kill: no warning, as a power cut`;

const NAME = /^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$/;

const bad = (message: string): TestbedError => new TestbedError(message, 'See: npm run testbed -- help');

/** Checks a name of a testbed or cluster, which becomes part of names on the host. */
export const checkName = (what: string, name: string): string => {
  if (!NAME.test(name))
    throw bad(`${what} "${name}" is not a name: a-z, 0-9 and -, at most 20, a letter first`);
  return name;
};

/** `home,east` and `1,2` (or one number for all, or nothing: one node each) → a shape. */
export const parseShape = (clusters: string, nodes?: string): readonly ClusterShape[] => {
  const names = clusters.split(',').map((name) => checkName('cluster', name));
  if (new Set(names).size !== names.length) throw bad(`clusters ${clusters}: a name appears twice`);
  const counts = (nodes ?? '1').split(',').map(Number);
  if (counts.some((count) => !Number.isInteger(count) || count < 1))
    throw bad(`--nodes ${nodes}: not whole numbers from 1`);
  if (counts.length !== 1 && counts.length !== names.length)
    throw bad(`--nodes ${nodes}: ${counts.length} numbers for ${names.length} clusters`);
  return names.map((name, index) => ({ name, nodes: counts[index] ?? counts[0] ?? 1 }));
};

interface Split {
  readonly options: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

/** Options may stand anywhere before the command that is passed on, if the verb has one. */
const split = (
  args: readonly string[],
  allowed: readonly string[],
  flags: readonly string[],
  passAfter: number,
): Split => {
  const options = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? '';
    if (rest.length >= passAfter || !arg.startsWith('-')) {
      rest.push(arg);
      continue;
    }
    const [key = '', inline] = arg.split('=', 2);
    if (flags.includes(key)) options.set(key, 'yes');
    else if (allowed.includes(key)) {
      const value = inline ?? args[++at];
      if (value === undefined) throw bad(`${key} needs a value`);
      options.set(key, value);
    } else throw bad(`unknown option ${key}`);
  }
  return { options, rest };
};

/** Parses the arguments after `npm run testbed --`. */
export const parseArguments = (argv: readonly string[]): Command => {
  // --name may also stand first
  const lead =
    argv[0] === '--name' ? argv.slice(0, 2) : argv[0]?.startsWith('--name=') === true ? argv.slice(0, 1) : [];
  const [verb = 'help', ...after] = argv.slice(lead.length);
  const args = [...lead, ...after];
  const take = (
    allowed: readonly string[],
    flags: readonly string[],
    words: number,
    passAfter = Infinity,
  ): { name: string; options: ReadonlyMap<string, string>; rest: readonly string[] } => {
    const { options, rest } = split(args, ['--name', ...allowed], flags, passAfter);
    if (rest.length < words || (rest.length > words && passAfter === Infinity))
      throw bad(`${verb} takes ${words} argument${words === 1 ? '' : 's'}, not ${rest.length}`);
    return { name: checkName('testbed', options.get('--name') ?? 'default'), options, rest };
  };
  switch (verb) {
    case 'up': {
      const { name, options } = take(['--clusters', '--nodes'], ['--storage'], 0);
      return {
        verb,
        name,
        storage: options.has('--storage'),
        shape: parseShape(
          options.get('--clusters') ?? 'home,east,west',
          options.get('--nodes') ?? (options.has('--clusters') ? undefined : '1,2,1'),
        ),
      };
    }
    case 'down': {
      const { name, options } = take([], ['--all'], 0);
      return { verb, name, all: options.has('--all') };
    }
    case 'status': {
      const { name, options } = take(['-o', '--output'], [], 0);
      const output = options.get('-o') ?? options.get('--output') ?? 'text';
      if (output !== 'text' && output !== 'json') throw bad(`-o ${output}: text or json`);
      return { verb, name, output };
    }
    case 'kubeconfig': {
      const { name, rest } = take([], [], 1);
      return { verb, name, cluster: rest[0] ?? '' };
    }
    case 'kubectl':
    case 'exec': {
      const { name, rest } = take([], [], verb === 'exec' ? 2 : 1, 1);
      const [target = '', ...passed] = rest;
      return { verb, name, target, args: passed[0] === '--' ? passed.slice(1) : passed };
    }
    case 'load': {
      const { name, rest } = take([], [], 2);
      return { verb, name, cluster: rest[0] ?? '', image: rest[1] ?? '' };
    }
    case 'partition':
    case 'heal': {
      const { name, rest } = take([], [], 2);
      return { verb, name, a: rest[0] ?? '', b: rest[1] ?? '' };
    }
    case 'start':
    case 'stop':
    case 'kill': {
      const { name, rest } = take([], [], 1);
      return { verb, name, target: rest[0] ?? '' };
    }
    case 'help':
    case '--help':
    case '-h':
      return { verb: 'help' };
    default:
      throw bad(`unknown verb ${verb}`);
  }
};
