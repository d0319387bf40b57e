/** Filling a folder that becomes an image: programs with the libraries they need, from the host. */
import { copyFileSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TestbedError } from '../testbed/errors.ts';
import { run, tryRun } from '../testbed/exec.ts';
import { findProgram } from '../testbed/packages.ts';

/** Absolute path of a program that an image needs. */
export const programPath = (name: string): string => {
  const path = findProgram(name);
  if (path === undefined)
    throw new TestbedError(
      `program ${name} is not in PATH, and an image needs it`,
      'Install its Debian package.',
    );
  return path;
};

/** The shared libraries of a program and its loader, as the loader finds them (none for a static one). */
export const librariesOf = async (program: string): Promise<readonly string[]> => {
  const { code, stdout } = await tryRun('ldd', [program]);
  return code === 0 ? [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '') : [];
};

const place = (root: string, source: string, target: string): void => {
  mkdirSync(dirname(join(root, target)), { recursive: true });
  // realpath: what /lib/… links to under the name that the loader asks for
  copyFileSync(realpathSync(source), join(root, target));
};

/** Copies a program to `/bin` (or `folder`) below `root`, and its libraries to where its loader looks. */
export const stageProgram = async (
  root: string,
  program: string,
  folder = 'bin',
  name = basename(program),
): Promise<void> => {
  place(root, program, join(folder, name));
  for (const library of await librariesOf(program)) place(root, library, library);
};

/** Compiles one C file statically. */
export const compileStatic = async (
  source: string,
  out: string,
  flags: readonly string[] = [],
): Promise<void> => {
  mkdirSync(dirname(out), { recursive: true });
  await run('gcc', ['-Os', '-static', '-s', '-Wall', '-Wextra', '-Werror', ...flags, '-o', out, source]);
};

/** Size and time of a file, to see that a host's program changed without reading it. */
export const stampOf = (path: string): string => {
  const { size, mtimeMs } = statSync(realpathSync(path));
  return `${path} ${size} ${mtimeMs}`;
};
