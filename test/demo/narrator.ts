import { performance } from 'node:perf_hooks';

/** Says what happens in a way that a newcomer understands: numbered steps with the time each took. */
export class Narrator {
  readonly #started = performance.now();
  #number = 0;

  /** Runs one step under its title. */
  async step<T>(title: string, work: () => Promise<T>): Promise<T> {
    this.#number += 1;
    const started = performance.now();
    process.stdout.write(`\n== ${this.#number}. ${title}\n`);
    const result = await work();
    process.stdout.write(`   (${((performance.now() - started) / 1000).toFixed(1)} s)\n`);
    return result;
  }

  /** Shows a command that the reader could type. */
  command(line: string): void {
    process.stdout.write(`   $ ${line}\n`);
  }

  /** Shows output, indented. */
  output(text: string): void {
    for (const line of text.replace(/\n$/, '').split('\n')) {
      process.stdout.write(`     ${line}\n`);
    }
  }

  /** Closes with the total time. */
  end(): void {
    process.stdout.write(`\nTotal: ${((performance.now() - this.#started) / 1000).toFixed(1)} s\n`);
  }
}
