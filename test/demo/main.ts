/**
 * `npm run demo`: Fluvia's story, end to end, on real Kubernetes. Sets up three clusters with equal CIDRs, peers them, lets a
 * web application and a database flow over their borders, takes the database's peer away and gives it back, and removes
 * everything again.
 *
 * `--keep` leaves the applications running and prints how to look around; `--name NAME` names the testbed.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '../../api/errors.ts';
import { TestbedError } from '../testbed/errors.ts';
import { Testbed } from '../testbed/testbed.ts';
import { runDatabase } from './database-story.ts';
import { leaveFabric, makeFabric } from './fabric.ts';
import { Narrator } from './narrator.ts';
import { runShop } from './shop.ts';
import { CLUSTERS, HOME, ORDERS, Stage } from './stage.ts';

const { values } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, name: { type: 'string', default: 'demo' } },
});
const { keep, name } = values;
const say = new Narrator();

/** Takes the clusters away, whatever state they are in; once. */
let ending: Promise<void> | undefined;
const cleanUp = (): Promise<void> => (ending ??= Testbed.down(name, (line) => say.output(line)));

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    say.output(`${signal}: cleaning up`);
    void cleanUp().finally(() => process.exit(130));
  });
}

const setUp = (): Promise<Testbed> =>
  say.step('Set up: three real Kubernetes clusters with the same pod and service CIDRs', () => {
    const clusters = CLUSTERS.map((cluster) => ({ name: cluster, nodes: cluster === 'east' ? 2 : 1 }));
    return Testbed.up({ name, clusters, storage: true, report: (line) => say.output(line) });
  });

const tellHowToLook = (): void => {
  say.output(
    `Kept. Look around: npm run testbed -- kubectl --name ${name} ${HOME} get pods,pvc,volumereplica -n ${ORDERS}`,
  );
  say.output(
    `                   npx fluviactl info --kubeconfig $(npm run -s testbed -- kubeconfig ${HOME} --name ${name})`,
  );
  say.output(`Take it away:      npm run testbed -- down --name ${name}`);
};

try {
  const stage = new Stage(await setUp(), say);
  const steps = [...makeFabric, ...runShop, ...runDatabase(), ...(keep ? [] : [leaveFabric])];
  for (const { title, act } of steps) {
    if (ending !== undefined) break;
    await say.step(title, () => act(stage));
  }
} catch (error) {
  if (ending === undefined) {
    const hint = error instanceof TestbedError ? ` ${error.next}` : '';
    process.stderr.write(`demo: ${messageOf(error)}.${hint}\n`);
    process.exitCode = 1;
  }
}
if (keep && ending === undefined) tellHowToLook();
else await say.step('Take the clusters away', cleanUp);
say.end();
