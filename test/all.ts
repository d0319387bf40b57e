/**
 * `npm test`: sets up what the tests need (Debian packages, Kubernetes built from Go modules, images), then runs the
 * static checks and every test project, and closes with one line that is exactly `N passed, N failed`.
 *
 * `--only unit|host|kube|e2e|drills` runs one project (set-up included).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setUpMachine } from './set-up.ts';

interface Tally {
  readonly passed: number;
  readonly failed: number;
}

const BIN = 'node_modules/.bin';

/** The static checks: each counts as one test. */
const CHECKS: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['types', `${BIN}/tsc`, '-p', '.'],
  ['lint', `${BIN}/oxlint`, '--type-aware', '--deny-warnings'],
  ['format', `${BIN}/oxfmt`, '--check'],
];

/** Projects of one row run side by side: tests of API servers mostly wait, the others work. */
const ROWS = [['kube', 'host', 'unit'], ['e2e']] as const;

/** Longer than `npm test` may take: only by name, `test/run all --only drills`. */
const EXTRA = 'drills';

/**
 * Runs a command, with our output or with that file; resolves to its exit code (128 + signal number is not told apart from
 * failure).
 */
const run = async (command: string, args: readonly string[], file?: string): Promise<number> => {
  const output = file === undefined ? 'inherit' : openSync(file, 'w');
  try {
    const child = spawn(command, args, { stdio: ['ignore', output, output] });
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  } finally {
    if (typeof output === 'number') closeSync(output);
  }
};

const runCheck = async (name: string, command: string, args: readonly string[]): Promise<Tally> => {
  const code = await run(command, args);
  process.stdout.write(`check ${name}: ${code === 0 ? 'ok' : `failed (exit ${code})`}\n`);
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
};

/** The counts in vitest's JSON report; a suite that could not run, or a skipped test, counts as failed. */
const readReport = (file: string): Tally => {
  const report = JSON.parse(readFileSync(file, 'utf8')) as {
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
    numTodoTests: number;
    testResults: readonly { status: string; assertionResults: readonly unknown[] }[];
  };
  const brokenSuites = report.testResults.filter(
    (s) => s.status === 'failed' && s.assertionResults.length === 0,
  ).length;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numPendingTests + report.numTodoTests + brokenSuites,
  };
};

const runProject = async (project: string, room: string, output?: string): Promise<Tally> => {
  const file = join(room, `${project}.json`);
  const started = performance.now();
  const args = [
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
  ];
  const code = await run(`${BIN}/vitest`, args, output);
  const took = `tests ${project}: ${Math.round((performance.now() - started) / 1000)} s\n`;
  if (output === undefined) process.stdout.write(took);
  else appendFileSync(output, took);
  try {
    const tally = readReport(file);
    return code === 0 || tally.failed > 0 ? tally : { passed: tally.passed, failed: 1 };
  } catch {
    return { passed: 0, failed: 1 };
  }
};

/** Runs projects side by side; the first speaks as it goes, the others after it, each as a whole. */
const runRow = async (projects: readonly string[], room: string): Promise<Tally[]> => {
  const runs = projects.map((project, index) => {
    const output = index === 0 ? undefined : join(room, `${project}.log`);
    return { output, tally: runProject(project, room, output) };
  });
  const tallies: Tally[] = [];
  for (const { output, tally } of runs) {
    tallies.push(await tally);
    if (output !== undefined) process.stdout.write(readFileSync(output));
  }
  return tallies;
};

const main = async (): Promise<void> => {
  const only = process.argv[2] === '--only' ? process.argv[3] : undefined;
  const known: readonly string[] = [...ROWS.flat(), EXTRA];
  if (only !== undefined && !known.includes(only)) {
    process.stderr.write(`unknown test project "${only}": choose one of ${known.join(', ')}\n`);
    process.exit(2);
  }
  const tallies: Tally[] = [];
  const room = mkdtempSync(join(tmpdir(), 'fluvia-test-'));
  try {
    await setUpMachine();
    for (const [name, command, ...args] of only === undefined ? CHECKS : []) {
      tallies.push(await runCheck(name, command, args));
    }
    for (const row of only === undefined ? ROWS : [[only]]) tallies.push(...(await runRow(row, room)));
  } finally {
    rmSync(room, { recursive: true, force: true });
  }
  const passed = tallies.reduce((sum, t) => sum + t.passed, 0);
  const failed = tallies.reduce((sum, t) => sum + t.failed, 0);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
};

await main();
