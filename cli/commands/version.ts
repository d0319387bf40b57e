import type { Command } from 'commander';
import { VERSION, withCluster, withClusterFlags, type CliContext, type ClusterFlags } from '../context.ts';
import { findInstallation } from '../installation.ts';
import { formatData, parseOutput } from '../output/data.ts';

interface VersionFlags extends ClusterFlags {
  readonly client?: boolean;
  readonly output?: string;
}

const show = async (cli: CliContext, flags: VersionFlags): Promise<void> => {
  const format = parseOutput(flags.output, ['text', 'json', 'yaml']);
  const print = (data: Readonly<Record<string, string>>): void => {
    const text = Object.entries(data)
      .map(([key, value]) => `${key}: ${value}\n`)
      .join('');
    cli.terminal.out(format === 'json' || format === 'yaml' ? formatData(data, format) : text);
  };
  if (flags.client === true) {
    print({ fluviactl: VERSION });
    return;
  }
  await withCluster(cli, flags, async (cluster) => {
    const installed = await findInstallation(cluster);
    print({ fluviactl: VERSION, kubernetes: cluster.version, fluvia: installed?.image ?? 'not installed' });
  });
};

/** `fluviactl version`. */
export const registerVersion = (program: Command, cli: CliContext): void => {
  withClusterFlags(program.command('version').description('versions of this program and of the cluster'))
    .option('--client', 'only of this program')
    .option('-o, --output <format>', 'json or yaml')
    .action((flags: VersionFlags) => show(cli, flags));
};
