/** The programs of a testbed: found on the machine if their version fits, else from the cache, else built from pinned Go modules. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cached } from './cache.ts';
import { TestbedError } from './errors.ts';
import { tryRun } from './exec.ts';
import { ensurePackages, findProgram } from './packages.ts';
import { cacheRoot, repositoryRoot } from './paths.ts';
import {
  BUILD_FLAGS,
  requiredVersion,
  TOOLS,
  versionFits,
  type ToolName,
  type ToolSpec,
} from './plan-tools.ts';

/** Where a tool's programs are. */
export interface Tool {
  readonly version: string;
  readonly dir: string;
  /** Program name → absolute path. */
  readonly files: Readonly<Record<string, string>>;
}

type Report = (line: string) => void;

const moduleFolder = (name: ToolName): string => join(repositoryRoot, 'test/testbed/go', name);

const fileNames = (spec: ToolSpec): readonly string[] =>
  // the one binary is an implementation detail: a distribution has the seven
  spec.links === undefined ? Object.keys(spec.programs) : spec.links.names;

const toolIn = (dir: string, version: string, spec: ToolSpec): Tool => ({
  version,
  dir,
  files: Object.fromEntries(fileNames(spec).map((name) => [name, join(dir, name)])),
});

/** A copy on the machine, all its programs in one folder, whose version fits. */
const findOnMachine = async (spec: ToolSpec, version: string): Promise<Tool | undefined> => {
  const inPath = findProgram(spec.probe.file);
  const given = process.env.FLUVIA_KUBE_BIN;
  for (const dir of [given, inPath === undefined ? undefined : dirname(inPath)]) {
    if (dir === undefined || dir === '' || !fileNames(spec).every((name) => existsSync(join(dir, name))))
      continue;
    const { stdout, stderr } = await tryRun(join(dir, spec.probe.file), spec.probe.args, {
      timeoutMs: 10_000,
    });
    if (versionFits(stdout + stderr, version)) return toolIn(dir, version, spec);
  }
  return undefined;
};

const recipeHash = (name: ToolName, spec: ToolSpec, version: string): string => {
  const hash = createHash('sha256');
  const folder = moduleFolder(name);
  for (const file of readdirSync(folder).sort())
    hash.update(`${file}\0`).update(readFileSync(join(folder, file)));
  hash.update(
    JSON.stringify([
      BUILD_FLAGS,
      spec.programs,
      spec.links,
      spec.tags,
      spec.cgo,
      spec.ldflags?.(version),
      process.arch,
    ]),
  );
  return hash.digest('hex').slice(0, 12);
};

/** Says how long a build has been running: every second on a terminal, else every 30 s. */
const withProgress = async <T>(what: string, report: Report, work: () => Promise<T>): Promise<T> => {
  const start = Date.now();
  const seconds = (): number => Math.round((Date.now() - start) / 1000);
  const terminal = process.stderr.isTTY;
  report(`building ${what} (once; takes minutes with empty caches)`);
  const timer = setInterval(
    () =>
      terminal
        ? process.stderr.write(`\r  building ${what}: ${seconds()} s `)
        : report(`building ${what}: ${seconds()} s so far`),
    terminal ? 1000 : 30_000,
  );
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if (terminal) process.stderr.write('\r\u001B[K');
    report(`built ${what} in ${seconds()} s`);
  }
};

const build = async (
  name: ToolName,
  spec: ToolSpec,
  version: string,
  out: string,
  report: Report,
): Promise<void> => {
  if (spec.cgo === true) await ensurePackages(['buildRunc'], report);
  await withProgress(`${name} ${version}`, report, async () => {
    for (const [file, goPackage] of Object.entries(spec.programs)) {
      const ldflags = `-s -w ${spec.ldflags?.(version) ?? ''}`.trim();
      const args = [
        'build',
        ...BUILD_FLAGS,
        '-o',
        join(out, file),
        '-ldflags',
        ldflags,
        ...(spec.tags === undefined ? [] : ['-tags', spec.tags]),
        goPackage,
      ];
      // a build must not outlive a killed testbed
      const { code, stderr } = await tryRun('setpriv', ['--pdeathsig', 'KILL', 'go', ...args], {
        cwd: moduleFolder(name),
        env: { CGO_ENABLED: spec.cgo === true ? '1' : '0', GOFLAGS: '', GOWORK: 'off' },
      });
      if (code !== 0) {
        throw new TestbedError(
          `building ${file} failed: ${stderr.trim().split('\n').slice(-3).join('; ')}`,
          'It needs Go 1.26, the Go module proxy and 9 GB of free disk.',
        );
      }
    }
    if (spec.links !== undefined)
      for (const link of spec.links.names) symlinkSync(spec.links.to, join(out, link));
  });
};

const locate = (name: ToolName): { spec: ToolSpec; version: string; key: string } => {
  const spec: ToolSpec = TOOLS[name];
  const version = requiredVersion(readFileSync(join(moduleFolder(name), 'go.mod'), 'utf8'), spec.module);
  return { spec, version, key: `${name}-${version}-${recipeHash(name, spec, version)}` };
};

/** Whether {@link ensureTool} would have to build. */
export const needsBuild = async (name: ToolName): Promise<boolean> => {
  const { spec, version, key } = locate(name);
  return !existsSync(join(cacheRoot(), key)) && (await findOnMachine(spec, version)) === undefined;
};

/** Throws unless a build could begin: Go is there. */
export const requireGo = (): void => {
  if (findProgram('go') === undefined) {
    throw new TestbedError(
      'Go is not in PATH, and the Kubernetes programs have to be built',
      'Install Go 1.26 (https://go.dev/dl), or set FLUVIA_KUBE_BIN to a folder that holds them.',
    );
  }
};

/** The programs of a tool, built if they must be. `report` gets progress lines. */
export const ensureTool = async (name: ToolName, report: Report = () => undefined): Promise<Tool> => {
  const { spec, version, key } = locate(name);
  const found = existsSync(join(cacheRoot(), key)) ? undefined : await findOnMachine(spec, version);
  if (found !== undefined) return found;
  const dir = await cached(
    key,
    (draft) => {
      requireGo();
      return build(name, spec, version, draft, report);
    },
    report,
  );
  return toolIn(dir, version, spec);
};
