import { Command } from 'commander';
import { registerCompletion } from './commands/completion.ts';
import { registerExplain } from './commands/explain.ts';
import { registerGet } from './commands/get.ts';
import { registerInfo } from './commands/info.ts';
import { registerInstall } from './commands/install.ts';
import { registerMove } from './commands/move.ts';
import { registerOffload } from './commands/offload.ts';
import { registerPeering } from './commands/peering.ts';
import { registerUninstall } from './commands/uninstall.ts';
import { registerVersion } from './commands/version.ts';
import type { CliContext } from './context.ts';
import { DegradedError, EXIT, reportOf } from './exit.ts';

const AFTER_HELP = `
Exit codes: 0 done, 1 failed, 2 wrong usage (flags, kubeconfig), 3 done, and something is degraded.`;

/** The command tree. */
export const createProgram = (cli: CliContext): Command => {
  const program = new Command(cli.program)
    .description('Fluvia: let namespaces flow over the borders of Kubernetes clusters')
    .addHelpText('after', AFTER_HELP)
    .helpCommand(true)
    .showSuggestionAfterError(true);
  registerInstall(program, cli);
  registerUninstall(program, cli);
  registerPeering(program, cli);
  registerOffload(program, cli);
  registerMove(program, cli);
  registerInfo(program, cli);
  registerExplain(program, cli);
  registerGet(program, cli);
  registerVersion(program, cli);
  registerCompletion(program, cli);
  const inherit = (command: Command): void => {
    // errors are thrown, so that one place says them and chooses the exit code
    command.exitOverride().configureOutput({
      writeOut: (text) => cli.terminal.out(text),
      writeErr: () => undefined,
    });
    command.commands.forEach(inherit);
  };
  inherit(program);
  return program;
};

/** Runs a command line; writes its errors and resolves to the exit code. Never rejects. */
export const runCli = async (argv: readonly string[], cli: CliContext): Promise<number> => {
  const program = createProgram(cli);
  if (argv.length === 0) {
    cli.terminal.err(program.helpInformation());
    return EXIT.usage;
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof DegradedError) {
      return EXIT.degraded;
    }
    if (cli.signal.aborted) {
      cli.terminal.err('Interrupted. Run the same command again; it goes on from where it was.\n');
      return 130;
    }
    const { line, next, exitCode } = reportOf(error);
    if (exitCode !== EXIT.ok) {
      cli.terminal.err(`${cli.terminal.style('red', 'Error:')} ${line}\n`);
      const advice =
        next ?? (exitCode === EXIT.usage ? `see: ${cli.program} ${argv[0] ?? ''} --help` : undefined);
      // hints are written for fluviactl; as a plugin of kubectl it is called otherwise
      const said = advice?.replaceAll(/\bfluviactl /g, `${cli.program} `);
      cli.terminal.err(said === undefined ? '' : `Next:  ${said}\n`);
    }
    return exitCode;
  }
};
