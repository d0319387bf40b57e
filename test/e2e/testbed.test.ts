/** The testbed itself: a cluster that works, what its verbs do, and that nothing stays on the host, whatever happened to `up`. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { imageReference } from '../images/images.ts';
import { tryRun } from '../testbed/exec.ts';
import { repositoryRoot } from '../testbed/paths.ts';
import { waitUntil } from '../testbed/processes.ts';
import { stateFolder } from '../testbed/state.ts';
import { Testbed } from '../testbed/testbed.ts';
import { difference, hostState, processesThatMention } from './host-state.ts';

const main = join(repositoryRoot, 'test/testbed/main.ts');
const seed = Number(process.env.FLUVIA_SEED ?? randomInt(2 ** 31));
console.log(`FLUVIA_SEED=${seed}`);

/** mulberry32: small and good enough to choose moments by. */
const random = (() => {
  let state = seed;
  return (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
})();

/** What a testbed left on the host: nothing, if all is well. */
const leftovers = async (name: string, before: readonly string[]): Promise<readonly string[]> => [
  ...difference(before, await hostState()),
  ...(existsSync(stateFolder(name)) ? [stateFolder(name)] : []),
  ...processesThatMention(`/testbeds/${name}/`),
];

describe('a small testbed', () => {
  const name = `t-${seed.toString(36)}`;
  let before: readonly string[] = [];
  let testbed: Testbed;
  let upMs = 0;

  beforeAll(async () => {
    before = await hostState();
    const start = Date.now();
    testbed = await Testbed.up({
      name,
      clusters: [
        { name: 'one', nodes: 1 },
        { name: 'two', nodes: 1 },
      ],
      report: console.log,
    });
    upMs = Date.now() - start;
  });
  afterAll(() => Testbed.down(name));

  const webIsReady = async (): Promise<boolean> =>
    (await testbed.tryKubectl('one', ['wait', '--for=condition=Ready', 'pod/web', '--timeout=20s'])).code ===
    0;

  it('runs pods that DNS finds and Services reach', async () => {
    await testbed.kubectl('one', ['run', 'web', `--image=${imageReference('web')}`, '--port=80', '--expose']);
    await testbed.kubectl('one', [
      'run',
      'client',
      `--image=${imageReference('tools')}`,
      '--',
      'sleep',
      '1000',
    ]);
    await testbed.kubectl('one', ['wait', '--for=condition=Ready', 'pod/web', 'pod/client', '--timeout=60s']);
    expect(
      await testbed.kubectl('one', [
        'exec',
        'client',
        '--',
        'curl',
        '-sS',
        '--retry',
        '3',
        '--retry-all-errors',
        'http://web.default.svc.cluster.local/',
      ]),
    ).toMatch(/^pod=web node=- client=10\.244\.0\.\d+:/);
    expect(await testbed.kubectl('one', ['logs', 'web'])).toMatch(
      /request path=\/ client=10\.244\.0\.\d+:\d+ pod=web/,
    );
  });

  it('gives nodes the pod range that kubeadm would', async () => {
    expect(
      await testbed.kubectl('one', [
        'get',
        'nodes',
        '-o',
        'jsonpath={.items[*].metadata.name} {.items[*].spec.podCIDR}',
      ]),
    ).toBe('one-1 10.244.0.0/24');
  });

  it('is quick and changes nothing when it is up already, and refuses another shape', async () => {
    const pods = await testbed.kubectl('one', [
      'get',
      'pods',
      '-A',
      '-o',
      'jsonpath={.items[*].metadata.uid}',
    ]);
    const again = await tryRun(process.execPath, [main, 'up', '--name', name, '--clusters', 'one,two']);
    expect(again).toMatchObject({ code: 0 });
    expect(
      await testbed.kubectl('one', ['get', 'pods', '-A', '-o', 'jsonpath={.items[*].metadata.uid}']),
    ).toBe(pods);
    const other = await tryRun(process.execPath, [main, 'up', '--name', name, '--clusters', 'one']);
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/^testbed: testbed \S+ is up with one=1,two=1 and no storage\n {2}\S.*\n$/);
  });

  it('cuts and heals the underlay between clusters', async () => {
    const reach = async (): Promise<string> =>
      (
        await testbed.execNode('one/1', [
          'curl',
          '-sk',
          '--max-time',
          '1',
          `${testbed.clusters[1]?.server}/readyz`,
        ])
      ).stdout;
    expect(await reach()).toBe('ok');
    await testbed.partition('one', 'two');
    expect(await reach()).toBe('');
    await testbed.heal('two', 'one');
    expect(await waitUntil(async () => (await reach()) === 'ok', 10_000, 200)).toBe(true);
  });

  it('brings pods back after a power cut', async () => {
    await testbed.kill('one');
    expect(testbed.status().clusters[0]?.nodes[0]?.running).toBe(false);
    await testbed.start('one/1');
    expect(await webIsReady()).toBe(true);
  });

  it('leaves the host as it was after down', async () => {
    await testbed.down();
    expect(await leftovers(name, before)).toEqual([]);
  });

  it('leaves the host as it was after SIGKILL of up at any moment', async () => {
    // the first moments make the most things, so half of the points lie there
    const points = [0.02, 0.06, 0.12, 0.3, 0.8].map((part) =>
      Math.round(200 + upMs * part * (0.5 + random())),
    );
    for (const afterMs of points) {
      const killed = await tryRun(process.execPath, [main, 'up', '--name', name, '--clusters', 'one,two'], {
        timeoutMs: afterMs,
      });
      console.log(`up killed after ${afterMs} ms: ${killed.stdout.trim().split('\n').at(-1)?.trim() ?? ''}`);
      expect(await tryRun(process.execPath, [main, 'down', '--name', name])).toMatchObject({
        code: 0,
        stderr: '',
      });
      expect(await leftovers(name, before)).toEqual([]);
    }
  });
});

describe('what the testbed refuses before it makes anything', () => {
  let room = '';
  beforeAll(() => {
    room = mkdtempSync(join(tmpdir(), 'fluvia-refusals-'));
  });
  afterAll(() => rmSync(room, { recursive: true }));

  /** A PATH with everything but one program. */
  const pathWithout = (program: string): string => {
    const folder = join(room, `without-${program}`);
    mkdirSync(folder);
    for (const part of (process.env.PATH ?? '').split(':')) {
      for (const name of existsSync(part) ? readdirSync(part) : []) {
        if (name !== program && !existsSync(join(folder, name))) {
          try {
            symlinkSync(join(part, name), join(folder, name));
          } catch {
            // a dangling link of that name is there already
          }
        }
      }
    }
    return folder;
  };

  it.each([
    ['without nft', (): NodeJS.ProcessEnv => ({ PATH: pathWithout('nft') }), /nft/],
    [
      'without Go and an empty cache',
      (): NodeJS.ProcessEnv => ({
        PATH: pathWithout('go'),
        XDG_CACHE_HOME: join(room, 'cache'),
        FLUVIA_KUBE_BIN: '',
      }),
      /Go is not in PATH/,
    ],
  ])('%s', async (_, env, reason) => {
    const before = await hostState();
    const { code, stderr } = await tryRun(
      process.execPath,
      [main, 'up', '--name', 'refused', '--clusters', 'one'],
      { env: env() },
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(reason);
    expect(stderr.trim().split('\n')).toHaveLength(2);
    expect(difference(before, await hostState())).toEqual([]);
  });

  it('without root', async () => {
    const before = await hostState();
    const { code, stderr } = await tryRun(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        // this checkout may lie in a folder that only root may enter
        '--inh-caps=+dac_read_search',
        '--ambient-caps=+dac_read_search',
        process.execPath,
        main,
        'up',
        '--name',
        'refused',
      ],
      { env: { HOME: room } },
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^testbed: the testbed needs root.*\n.*sudo.*\n$/);
    expect(difference(before, await hostState())).toEqual([]);
  });
});
