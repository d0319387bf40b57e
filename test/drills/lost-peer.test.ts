import { afterAll, beforeAll, describe, it } from 'vitest';
import { REDUCED_SIZE, runPartitionDrill } from './partition.ts';
import { prepareFluvia } from '../support/fabric.ts';
import { fluviactl } from '../support/fluviactl.ts';
import { Testbed } from '../testbed/testbed.ts';

/** The drill "a lost peer" at reduced size; `npm run drills -- --only partition` is the full one. */
const [HOME, PEER] = ['home', 'east'] as const;
const NAME = `lost-${process.pid}`;
let testbed: Testbed;

beforeAll(async () => {
  testbed = await Testbed.up({ name: NAME, clusters: [HOME, PEER].map((name) => ({ name, nodes: 1 })) });
  const image = await prepareFluvia(testbed, [HOME, PEER]);
  const kubeconfig = (cluster: string): string => testbed.kubeconfigPath(cluster);
  await Promise.all(
    [HOME, PEER].map((name) =>
      fluviactl([
        'install',
        '--kubeconfig',
        kubeconfig(name),
        '--cluster-name',
        name,
        '--image',
        image,
        '--wait',
      ]),
    ),
  );
  await fluviactl(['peer', '--kubeconfig', kubeconfig(HOME), '--remote-kubeconfig', kubeconfig(PEER)]);
});

afterAll(() => Testbed.down(NAME));

describe('a peer that is lost with its pods', () => {
  it.each(['partition', 'kill'] as const)(
    'by %s: others start elsewhere, no ordinal runs twice, and one of each is left on its return',
    (how) =>
      runPartitionDrill({
        testbed,
        home: HOME,
        peer: PEER,
        how,
        ...REDUCED_SIZE,
        report: (line) => console.log(line),
      }),
  );
});
