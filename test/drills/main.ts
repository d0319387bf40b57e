/**
 * `npm run drills`: the fault drills at full size, with their figures. `--points N` sets the number of kills, `--only kill` or
 * `--only partition` runs one of them, `--reduced` a lost peer as `npm test` does, `--keep` leaves the testbed; FLUVIA_SEED
 * repeats a run.
 */
import { parseArgs } from 'node:util';
import { installAll, planLab } from '../e2e/lab.ts';
import { setUpMachine } from '../set-up.ts';
import { fluviactl } from '../support/fluviactl.ts';
import { prepareFluvia } from '../support/fabric.ts';
import { SEED } from '../support/seed.ts';
import { Testbed } from '../testbed/testbed.ts';
import { runKillDrill } from './kill-points.ts';
import { FULL_SIZE, REDUCED_SIZE, runPartitionDrill } from './partition.ts';

const { values } = parseArgs({
  options: {
    points: { type: 'string', default: '21' },
    only: { type: 'string' },
    reduced: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const plan = planLab(SEED);
const [home = '', peer = ''] = plan.clusters.map((c) => c.name);
const name = `drills-${process.pid}`;
const report = (line: string): void => void process.stdout.write(`${line}\n`);

report(`seed ${SEED}: ${JSON.stringify(plan.clusters)}`);
await setUpMachine();
try {
  const testbed = await Testbed.up({ name, clusters: plan.clusters, report });
  const image = await prepareFluvia(
    testbed,
    plan.clusters.map((c) => c.name),
    report,
  );
  await installAll(testbed, plan, image);
  if (values.only !== 'partition') {
    await runKillDrill({ testbed, home, peer, points: Number(values.points), seed: SEED, report });
    report('all points converged');
  }
  if (values.only !== 'kill') {
    await fluviactl([
      'peer',
      '--kubeconfig',
      testbed.kubeconfigPath(home),
      '--remote-kubeconfig',
      testbed.kubeconfigPath(peer),
    ]);
    const size = values.reduced ? REDUCED_SIZE : FULL_SIZE;
    for (const how of ['partition', 'kill'] as const) {
      await runPartitionDrill({ testbed, home, peer, how, ...size, report });
    }
  }
} finally {
  if (!values.keep) {
    await Testbed.down(name, report);
  }
}
