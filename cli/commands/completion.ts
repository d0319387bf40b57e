import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { usageError } from '../exit.ts';

/** A command, its flags and what is below it. */
interface Node {
  readonly path: readonly string[];
  readonly words: readonly string[];
}

const SHELLS = ['bash', 'zsh', 'fish'] as const;

const nodesOf = (command: Command, path: readonly string[]): readonly Node[] => {
  const below = command.commands.filter((c) => c.name() !== 'help');
  const words = [...below.map((c) => c.name()), ...command.options.flatMap((o) => o.long ?? [])];
  return [{ path, words }, ...below.flatMap((c) => nodesOf(c, [...path, c.name()]))];
};

const bash = (name: string, nodes: readonly Node[]): string => {
  const fn = `_${name.replaceAll(/\W/g, '_')}`;
  const cases = nodes
    .map(({ path, words }) => `    "${path.join(' ')}") words="${words.join(' ')}" ;;`)
    .join('\n');
  return `${fn}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path="" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case $path in
${cases}
    esac
    [ -n "$words" ] && break
    case $path in *" "*) path=\${path% *} ;; "") break ;; *) path="" ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case $cur in -*|"") ;; *) [ \${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- "$cur")) ;; esac
}
complete -F ${fn} ${name}
`;
};

const fish = (name: string, nodes: readonly Node[]): string =>
  nodes
    .flatMap(({ path, words }) =>
      words.map((word) => {
        const condition =
          path.length === 0
            ? '__fish_use_subcommand'
            : path.map((part) => `__fish_seen_subcommand_from ${part}`).join('; and ');
        const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`;
        return `complete -c ${name} -n '${condition}' ${what}`;
      }),
    )
    .join('\n')
    .concat('\n');

/** The completion script of a shell, from the commands themselves, so that it can't lag behind. */
export const completionScript = (shell: string, name: string, program: Command): string => {
  const nodes = nodesOf(program, []);
  if (shell === 'bash') {
    return bash(name, nodes);
  }
  if (shell === 'zsh') {
    return `#compdef ${name}\nautoload -U +X bashcompinit && bashcompinit\n${bash(name, nodes)}`;
  }
  if (shell === 'fish') {
    return fish(name, nodes);
  }
  throw usageError(`there is no completion for "${shell}"`, `shells are: ${SHELLS.join(', ')}`);
};

/** `fluviactl completion SHELL`. */
export const registerCompletion = (program: Command, cli: CliContext): void => {
  program
    .command('completion')
    .description('print a completion script, e.g. source <(fluviactl completion bash)')
    .argument('<shell>', SHELLS.join(', '))
    .action((shell: string) => cli.terminal.out(completionScript(shell, 'fluviactl', program)));
};
