/**
 * `npm test`: sets up what the tests need (Debian packages, Kubernetes built from Go modules, images), then runs the
 * static checks and every test project, and closes with one line that is exactly `N passed, N failed`.
 *
 * `--only unit|host|kube|e2e|drills` runs one project (set-up included).
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
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

const PROJECTS = ['unit', 'host', 'kube', 'e2e'] as const;

/** Longer than `npm test` may take: only by name, `test/run all --only drills`. */
const EXTRA = 'drills';

/** Runs a command with our output; resolves to its exit code (128 + signal number is not told apart from failure). */
const run = (command: string, args: readonly string[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });

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

const runProject = async (project: string, room: string): Promise<Tally> => {
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
  const code = await run(`${BIN}/vitest`, args);
  process.stdout.write(`tests ${project}: ${Math.round((performance.now() - started) / 1000)} s\n`);
  try {
    const tally = readReport(file);
    return code === 0 || tally.failed > 0 ? tally : { passed: tally.passed, failed: 1 };
  } catch {
    return { passed: 0, failed: 1 };
  }
};

const main = async (): Promise<void> => {
  const only = process.argv[2] === '--only' ? process.argv[3] : undefined;
  if (only !== undefined && ![...PROJECTS, EXTRA].includes(only)) {
    process.stderr.write(
      `unknown test project "${only}": choose one of ${[...PROJECTS, EXTRA].join(', ')}\n`,
    );
    process.exit(2);
  }
  const tallies: Tally[] = [];
  const room = mkdtempSync(join(tmpdir(), 'fluvia-test-'));
  try {
    await setUpMachine();
    for (const [name, command, ...args] of only === undefined ? CHECKS : []) {
      tallies.push(await runCheck(name, command, args));
    }
    for (const project of only === undefined ? PROJECTS : [only]) {
      tallies.push(await runProject(project, room));
    }
  } finally {
    rmSync(room, { recursive: true, force: true });
  }
  const passed = tallies.reduce((sum, t) => sum + t.passed, 0);
  const failed = tallies.reduce((sum, t) => sum + t.failed, 0);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
};

await main();
