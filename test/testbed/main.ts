/** `npm run testbed -- …`: the testbed for people. Everything is done by `testbed.ts`. */
import { resolve } from 'node:path';
import { parseArguments, USAGE, type Command } from './args.ts';
import { TestbedError } from './errors.ts';
import { Testbed } from './testbed.ts';

const say = (line: string): void => console.log(line);

const printStatus = (name: string, output: 'text' | 'json'): void => {
  const status = Testbed.open(name).status();
  if (output === 'json') {
    say(JSON.stringify(status, null, 2));
    return;
  }
  say(`testbed ${status.name}: ${status.phase}, in ${status.folder}`);
  for (const cluster of status.clusters) {
    say(`  ${cluster.name}  ${cluster.server}  ${cluster.kubeconfig}`);
    for (const node of cluster.nodes)
      say(`    ${node.name}  ${node.ip}  pods ${node.podCidr}  ${node.running ? 'running' : 'down'}`);
  }
  for (const [a, b] of status.partitions) say(`  cut: ${a} | ${b}`);
};

/** Relative paths are meant from where npm was called. */
const userPath = (path: string): string => resolve(process.env.INIT_CWD ?? process.cwd(), path);

const perform = async (command: Command): Promise<number> => {
  switch (command.verb) {
    case 'help':
      say(USAGE);
      return 0;
    case 'up':
      await Testbed.up({
        name: command.name,
        clusters: command.shape,
        storage: command.storage,
        report: say,
      });
      return 0;
    case 'down':
      for (const name of command.all ? Testbed.names() : [command.name]) await Testbed.down(name, say);
      return 0;
    case 'status':
      printStatus(command.name, command.output);
      return 0;
    case 'kubeconfig':
      say(Testbed.open(command.name).kubeconfigPath(command.cluster));
      return 0;
    case 'kubectl':
      return Testbed.open(command.name).attachKubectl(command.target, command.args);
    case 'exec':
      return Testbed.open(command.name).attachNode(command.target, command.args);
    case 'load':
      await Testbed.open(command.name).load(command.cluster, userPath(command.image));
      return 0;
    case 'partition':
    case 'heal':
      await Testbed.open(command.name)[command.verb](command.a, command.b);
      return 0;
    case 'start':
      await Testbed.open(command.name).start(command.target, say);
      return 0;
    case 'stop':
    case 'kill':
      await Testbed.open(command.name)[command.verb](command.target);
      return 0;
    default:
      return command satisfies never;
  }
};

try {
  process.exitCode = await perform(parseArguments(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof TestbedError)) throw error;
  console.error(`testbed: ${error.message}\n  ${error.next}`);
  process.exitCode = 1;
}
