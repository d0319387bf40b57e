/** `npm run bench [-- NAME...]`: runs the benches, prints what they measured; exits 1 when one is over its limit. */
import { moverBench } from './mover.ts';
import { placementBench } from './placement.ts';

/** What a bench found. */
export interface BenchResult {
  readonly lines: readonly string[];
  readonly isWithinLimit: boolean;
}

export interface Bench {
  readonly name: string;
  readonly description: string;
  readonly run: () => Promise<BenchResult>;
}

const BENCHES: readonly Bench[] = [placementBench, moverBench];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !BENCHES.some((bench) => bench.name === name));
if (unknown.length > 0 || wanted.includes('--help')) {
  console.log(
    `usage: npm run bench [-- NAME...]\n${BENCHES.map(({ name, description }) => `  ${name}  ${description}\n`).join('')}`,
  );
  process.exitCode = 2;
} else {
  for (const bench of BENCHES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    console.log(`${bench.name}: ${bench.description}`);
    const { lines, isWithinLimit } = await bench.run();
    for (const line of lines) console.log(`  ${line}`);
    if (!isWithinLimit) {
      console.log('  over its limit');
      process.exitCode = 1;
    }
  }
}
