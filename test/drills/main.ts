/**
 * `npm run drills`: the fault drills at full size on three real clusters of one, two and two nodes, with their figures.
 * `--only kill|partition|burst|copies|postgres` runs one of them (the last two need no cluster), `--points N` sets the
 * number of kills, `--reduced` loses a peer as `npm test` does. `--name NAME` uses the testbed of that name and with `--keep`
 * leaves it; FLUVIA_SEED repeats a run.
 */
import { parseArgs } from 'node:util';
import { installAll, planLab, type LabPlan } from '../e2e/lab.ts';
import { setUpMachine } from '../set-up.ts';
import { peerClusters, prepareFluvia } from '../support/fabric.ts';
import { SEED } from '../support/seed.ts';
import { Testbed } from '../testbed/testbed.ts';
import { runBurstDrill } from './burst.ts';
import { COPY_DRILLS, runCopyDrills } from './copies.ts';
import { killTable, runKillDrill } from './kill-points.ts';
import {
  FULL_SIZE,
  partitionTable,
  REDUCED_SIZE,
  runPartitionDrill,
  type PartitionFigures,
} from './partition.ts';

const CLUSTER_DRILLS = ['kill', 'partition', 'burst'] as const;
const DRILLS = [...CLUSTER_DRILLS, ...COPY_DRILLS] as const;
const NODES: readonly number[] = [1, 2, 2];

const { values } = parseArgs({
  options: {
    points: { type: 'string', default: '21' },
    only: { type: 'string', multiple: true },
    reduced: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    name: { type: 'string', default: `drills-${process.pid}` },
  },
});
const wanted: readonly string[] = values.only ?? DRILLS;
const unknown = wanted.find((drill) => !DRILLS.some((known) => known === drill));
if (unknown !== undefined) {
  process.stderr.write(`there is no drill ${unknown}: choose of ${DRILLS.join(', ')}\n`);
  process.exit(2);
}

const seeded = planLab(SEED);
const plan: LabPlan = {
  clusters: seeded.clusters.map((cluster, i) => ({ ...cluster, nodes: NODES[i] ?? 1 })),
};
const [home = '', peer = '', other = ''] = plan.clusters.map((c) => c.name);
const { name } = values;
const report = (line: string): void => void process.stdout.write(`${line}\n`);
const started = Date.now();

report(`seed ${SEED}: ${JSON.stringify(plan.clusters)}`);
await setUpMachine();
const copyTables = await runCopyDrills(wanted, SEED, report);
if (!CLUSTER_DRILLS.some((drill) => wanted.includes(drill))) {
  for (const table of copyTables) report(`\n${table}`);
  process.exit(0);
}
try {
  const clusters = plan.clusters.map(({ name: cluster, nodes }) => ({ name: cluster, nodes }));
  const testbed = await Testbed.up({ name, clusters, report });
  const image = await prepareFluvia(
    testbed,
    clusters.map((c) => c.name),
    report,
  );
  await installAll(testbed, plan, image);
  await peerClusters(testbed, home, other);
  const tables: string[] = [...copyTables];
  if (wanted.includes('kill')) {
    const points = Number(values.points);
    const figures = await runKillDrill({
      testbed,
      home,
      peer,
      steady: other,
      points,
      seed: SEED,
      report,
    });
    tables.push(killTable(figures));
  }
  if (wanted.includes('partition') || wanted.includes('burst')) await peerClusters(testbed, home, peer);
  if (wanted.includes('burst')) {
    await runBurstDrill({ testbed, home, peers: [peer, other], report });
  }
  if (wanted.includes('partition')) {
    const size = values.reduced ? REDUCED_SIZE : FULL_SIZE;
    const runs: PartitionFigures[] = [];
    for (const how of ['partition', 'kill'] as const) {
      runs.push(await runPartitionDrill({ testbed, home, peer, how, ...size, report }));
    }
    tables.push(partitionTable(runs));
  }
  for (const table of tables) report(`\n${table}`);
  report(`\nall drills held, ${Math.round((Date.now() - started) / 1000)} s`);
} finally {
  if (!values.keep) {
    await Testbed.down(name, report);
  }
}
