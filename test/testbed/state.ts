/** What a testbed remembers between commands: `testbed.json` in its folder, replaced whole at each change. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { TestbedError } from './errors.ts';
import type { Partition } from './network.ts';
import type { NodeTools } from './node.ts';
import { testbedsRoot } from './paths.ts';
import type { TestbedPlan } from './plan-addresses.ts';

export interface TestbedState {
  readonly plan: TestbedPlan;
  /** `starting` until the first `up` was through: what is left of a broken one is taken down, not mended. */
  readonly phase: 'starting' | 'ready';
  readonly tools: NodeTools;
  readonly partitions: readonly Partition[];
  /** Whether its clusters provision volumes. */
  readonly storage?: boolean;
}

export const stateFolder = (name: string): string => join(testbedsRoot(), name);
export const lockPath = (name: string): string => join(testbedsRoot(), `${name}.lock`);

const stateFile = (name: string): string => join(stateFolder(name), 'testbed.json');

export const readState = (name: string): TestbedState | undefined =>
  existsSync(stateFile(name))
    ? (JSON.parse(readFileSync(stateFile(name), 'utf8')) as TestbedState)
    : undefined;

export const writeState = (state: TestbedState): void => {
  const file = stateFile(state.plan.name);
  writeFileSync(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(`${file}.new`, file);
};

/** Names of all testbeds of this user, also of half-made ones. */
export const testbedNames = (): readonly string[] =>
  existsSync(testbedsRoot())
    ? readdirSync(testbedsRoot(), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
    : [];

const UNFIT: Readonly<Record<number, string>> = { 0x794c7630: 'overlayfs', 0x01021994: 'tmpfs' };

/** Throws unless container file systems can lie in the folder of the testbeds: overlays don't stack, memory is short. */
export const checkStateFileSystem = (): void => {
  let folder = testbedsRoot();
  while (!existsSync(folder)) folder = join(folder, '..');
  const kind = UNFIT[statfsSync(folder).type];
  if (kind !== undefined)
    throw new TestbedError(
      `${testbedsRoot()} is on ${kind}, where containers can't keep their files`,
      'Set XDG_STATE_HOME to a folder on a plain file system (ext4, xfs, btrfs).',
    );
};

/** The folder of a testbed, made. */
export const makeStateFolder = (name: string): string => {
  mkdirSync(stateFolder(name), { recursive: true, mode: 0o700 });
  return stateFolder(name);
};
