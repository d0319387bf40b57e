import type { Command } from 'commander';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { withCluster, withClusterFlags, type CliContext, type ClusterFlags } from '../context.ts';
import { DegradedError } from '../exit.ts';
import { gatherInfo } from '../info-world.ts';
import { formatData, parseOutput } from '../output/data.ts';
import { formatTree } from '../output/tree.ts';
import { infoTree, planInfo, problemsOf, type Info } from '../plan-info.ts';

interface InfoFlags extends ClusterFlags {
  readonly output?: string;
}

const read = (cli: CliContext, flags: ClusterFlags): Promise<Info> =>
  withCluster(cli, flags, async (cluster) => planInfo(await gatherInfo(cluster, cli.signal)));

const onlyPeer = (info: Info, name: string): Info => {
  const peers = info.peers.filter((peer) => peer.name === name);
  if (peers.length === 0) {
    const known = info.peers.map((peer) => peer.name).join(', ');
    throw new FluviaError(ERROR_CODES.NOT_PEERED, `there is no peer "${name}"`, {
      kind: 'terminal',
      hint: known === '' ? 'this cluster has no peers: fluviactl peer' : `peers are: ${known}`,
    });
  }
  return { ...info, peers };
};

const info = async (cli: CliContext, peer: string | undefined, flags: InfoFlags): Promise<void> => {
  const format = parseOutput(flags.output, ['text', 'json', 'yaml']);
  const all = await read(cli, flags);
  const data = peer === undefined ? all : onlyPeer(all, peer);
  cli.terminal.out(
    format === 'json' || format === 'yaml' ? formatData(data, format) : formatTree(infoTree(data)),
  );
  if (problemsOf(data).length > 0) {
    throw new DegradedError();
  }
};

const status = async (cli: CliContext, flags: InfoFlags): Promise<void> => {
  const format = parseOutput(flags.output, ['text', 'json', 'yaml']);
  const data = await read(cli, flags);
  const problems = problemsOf(data);
  if (format === 'json' || format === 'yaml') {
    cli.terminal.out(
      formatData({ cluster: data.cluster.name, healthy: problems.length === 0, problems }, format),
    );
  } else if (problems.length === 0) {
    const { peers, namespaces } = data;
    cli.terminal.out(
      `${data.cluster.name} is healthy: ${peers.length} peers, ${namespaces.length} open namespaces.\n`,
    );
  } else {
    cli.terminal.out(
      `${data.cluster.name} is degraded:\n${problems.map((problem) => `  ✗ ${problem}\n`).join('')}`,
    );
  }
  if (problems.length > 0) {
    throw new DegradedError();
  }
};

/** `fluviactl info [PEER]` and `fluviactl status`. */
export const registerInfo = (program: Command, cli: CliContext): void => {
  withClusterFlags(
    program
      .command('info')
      .description(
        'show the cluster, its network, peers, open namespaces and volumes; exits 3 when something is degraded',
      ),
  )
    .argument('[peer]', 'only this peer')
    .option('-o, --output <format>', 'json or yaml')
    .action((peer: string | undefined, flags: InfoFlags) => info(cli, peer, flags));
  withClusterFlags(
    program.command('status').description('what is not as it should be; exits 3 when something is'),
  )
    .option('-o, --output <format>', 'json or yaml')
    .action((flags: InfoFlags) => status(cli, flags));
};
