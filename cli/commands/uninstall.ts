import type { Command } from 'commander';
import { confirm } from '../confirm.ts';
import { withCluster, withClusterFlags, type CliContext, type ClusterFlags } from '../context.ts';
import { uninstallObstacle } from '../plan-uninstall.ts';
import {
  awaitTwins,
  findRemains,
  isAnythingLeft,
  removeAgents,
  removeControllers,
  removeKinds,
  removeRest,
  removeStore,
  removeWebhooks,
  sweepForeignObjects,
  tearDownNodes,
  TEARDOWN_MS,
} from '../uninstall-steps.ts';

interface UninstallFlags extends ClusterFlags {
  readonly yes?: boolean;
}

const uninstall = async (cli: CliContext, flags: UninstallFlags): Promise<void> =>
  withCluster(cli, flags, async ({ client, source, flag }) => {
    const { steps, signal } = cli;
    if (!(await isAnythingLeft(client))) {
      cli.terminal.out(`Nothing of Fluvia is in this cluster (${source}).\n`);
      return;
    }
    const obstacle = uninstallObstacle(await findRemains(client), flag);
    if (obstacle !== undefined) {
      throw obstacle;
    }
    if (flags.yes !== true && !(await confirm(cli, `Remove Fluvia from the cluster of ${source}?`))) {
      cli.terminal.out('Nothing was changed.\n');
      return;
    }
    await steps.run('No twin of a former peer is left', () => awaitTwins(client, signal));
    await steps.run('Webhooks are gone', () => removeWebhooks(client));
    await steps.run('Controllers are gone', () => removeControllers(client, signal));
    const silent = await steps.run('Agents tore down their nodes', (note) =>
      tearDownNodes(client, note, signal),
    );
    for (const node of silent) {
      steps.warn(
        `Node ${node}: its agent said nothing within ${TEARDOWN_MS / 1000} s. If the node comes back, remove there: nft table ip fluvia, links fluvia0 and fluvia-vx.`,
      );
    }
    await steps.run('Agents and store are gone', async () => {
      await Promise.all([removeAgents(client, signal), removeStore(client, signal)]);
    });
    await steps.run('Nodes, namespaces and pods hold no trace', () => sweepForeignObjects(client));
    await steps.run('Kinds and their objects are gone', () => removeKinds(client, signal));
    await steps.run('Rights, policies and namespaces are gone', () => removeRest(client, signal));
    cli.terminal.out('Fluvia is removed.\n');
  });

/** `fluviactl uninstall`. */
export const registerUninstall = (program: Command, cli: CliContext): void => {
  withClusterFlags(
    program
      .command('uninstall')
      .description('remove Fluvia from a cluster; refused while it has peers or open namespaces'),
  )
    .option('-y, --yes', "don't ask")
    .action((flags: UninstallFlags) => uninstall(cli, flags));
};
