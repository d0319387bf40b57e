import { afterAll, beforeAll, describe, it } from 'vitest';
import { tellUnmadeVolume } from '../e2e/unmade-volume-story.ts';
import { FULL_TIMES, volumeStory } from '../e2e/volume-story.ts';
import { installFluvia, peerClusters, prepareFluvia } from '../support/fabric.ts';
import { Testbed } from '../testbed/testbed.ts';

/**
 * The stories of a volume that its peer can't make, and of one whose peer has a power cut, at the lease and grace of the bars;
 * `npm test` tells the second within main-job.
 */
const NAME = `volumes-${process.pid}`;
const [HOME, SOURCE, TARGET] = ['home', 'east', 'west'] as const;
const CLUSTERS = [HOME, SOURCE, TARGET];
const report = (line: string): void => void process.stdout.write(`${line}\n`);
let testbed: Testbed;
let story: ReturnType<typeof volumeStory>;

beforeAll(async () => {
  testbed = await Testbed.up({
    name: NAME,
    clusters: CLUSTERS.map((name) => ({ name, nodes: 1 })),
    storage: true,
  });
  const image = await prepareFluvia(testbed, CLUSTERS);
  await Promise.all(
    CLUSTERS.map((name) =>
      installFluvia(
        testbed,
        name,
        image,
        ...(name === HOME ? [] : ['--object-store', '--object-store-size', '2Gi']),
      ),
    ),
  );
  for (const [a, b] of [
    [HOME, SOURCE],
    [HOME, TARGET],
    [SOURCE, TARGET],
  ] as const)
    await peerClusters(testbed, a, b);
  story = volumeStory({
    testbed,
    home: HOME,
    source: SOURCE,
    target: TARGET,
    how: 'kill',
    times: FULL_TIMES,
    report,
  });
});

afterAll(() => Testbed.down(NAME));

describe('a volume', () => {
  it('is made elsewhere when the peer of its first pod can not', () =>
    tellUnmadeVolume({ testbed, home: HOME, without: SOURCE, other: TARGET, report }));
  it('is made at a peer, by a real provisioner, where its pod runs', () => story.create());
  it('is copied from filesystem snapshots', () => story.copy());
  it('moves as planned without losing a row', () => story.move());
  it('is taken over from its freshest copy when its peer is killed', () => story.lose());
  it('goes back when the peer has returned, and keeps what that one wrote last', () => story.moveBack());
  it('goes with its claim, at every peer', () => story.remove());
});
