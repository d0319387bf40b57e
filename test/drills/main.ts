/**
 * `npm run drills`: the fault drills at full size on three real clusters of one, two and two nodes, with their figures.
 * `--only kill|partition|burst|copies|postgres|volumes` runs one of them (`copies` and `postgres` need no cluster, `volumes`
 * makes its own), `--points N` sets the number of kills, `--reduced` loses a peer as `npm test` does. `--name NAME` uses the testbed of that name and with `--keep`
 * leaves it; FLUVIA_SEED repeats a run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
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
const DRILLS = [...CLUSTER_DRILLS, ...COPY_DRILLS, 'volumes'] as const;
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

const runsAny = (drills: readonly string[]): boolean => drills.some((drill) => wanted.includes(drill));
/** As soon as it is known: a drill that fails ends the run. */
const show = (table: string): void => report(`\n${table}\n`);

const runClusterDrills = async (): Promise<void> => {
  const clusters = plan.clusters.map(({ name: cluster, nodes }) => ({ name: cluster, nodes }));
  const testbed = await Testbed.up({ name, clusters, report });
  const image = await prepareFluvia(
    testbed,
    clusters.map((c) => c.name),
    report,
  );
  await installAll(testbed, plan, image);
  await peerClusters(testbed, home, other);
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
    show(killTable(figures));
  }
  if (runsAny(['partition', 'burst'])) await peerClusters(testbed, home, peer);
  if (wanted.includes('burst')) {
    await runBurstDrill({ testbed, home, peers: [peer, other], report });
  }
  if (wanted.includes('partition')) {
    const size = values.reduced ? REDUCED_SIZE : FULL_SIZE;
    const runs: PartitionFigures[] = [];
    for (const how of ['partition', 'kill'] as const) {
      runs.push(await runPartitionDrill({ testbed, home, peer, how, ...size, report }));
    }
    show(partitionTable(runs));
  }
};

/** The story of a volume is told as tests, whose chapters stand on each other. */
const runVolumeDrill = async (): Promise<void> => {
  const vitest = join(import.meta.dirname, '../../node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', '--project', 'drills'], { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the drill volumes failed (exit code ${String(code)})`);
};

report(`seed ${SEED}: ${JSON.stringify(plan.clusters)}`);
await setUpMachine();
await runCopyDrills(wanted, SEED, report, show);
if (runsAny(CLUSTER_DRILLS)) {
  try {
    await runClusterDrills();
  } finally {
    if (!values.keep) await Testbed.down(name, report);
  }
}
if (wanted.includes('volumes')) await runVolumeDrill();
report(`\nall drills held, ${Math.round((Date.now() - started) / 1000)} s`);
