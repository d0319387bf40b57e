/**
 * The inventory of a testbed: what it made on the host, each written down *before* it is made. `down` works from it
 * alone, so a testbed whose `up` was killed at any point leaves nothing.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { ProcessId } from './processes.ts';

/** One thing on the host that has to go with the testbed. */
export type Resource =
  | { readonly kind: 'claim'; readonly path: string }
  | { readonly kind: 'netns'; readonly name: string }
  /** A network interface of the host itself; those inside a namespace go with it. */
  | { readonly kind: 'link'; readonly name: string }
  /** File behind a loop device; the device goes with the node's mounts, unless something went wrong. */
  | { readonly kind: 'loop'; readonly path: string }
  /** A cgroup folder (absolute); all processes in it are the testbed's. */
  | { readonly kind: 'cgroup'; readonly path: string }
  | ({ readonly kind: 'process'; readonly bootId: string } & ProcessId);

/** Reads journal lines; a last line that a crash cut short is left out: what it announced was not made yet. */
export const parseJournal = (text: string): readonly Resource[] =>
  text.split('\n').flatMap((line): readonly Resource[] => {
    if (line === '') return [];
    try {
      return [JSON.parse(line) as Resource];
    } catch {
      return [];
    }
  });

/** Each resource once, in the order of its removal: processes first, then the newest first, claims last. */
export const removalOrder = (resources: readonly Resource[]): readonly Resource[] => {
  const rank = { process: 0, cgroup: 1, loop: 2, link: 3, netns: 4, claim: 5 } as const;
  const once = new Map(resources.map((resource) => [JSON.stringify(resource), resource]));
  return [...once.values()].toReversed().sort((a, b) => rank[a.kind] - rank[b.kind]);
};

export class Journal {
  readonly path: string;
  readonly #known: Set<string>;

  constructor(path: string) {
    this.path = path;
    this.#known = new Set(this.read().map((resource) => JSON.stringify(resource)));
    // a line cut short by a crash must not swallow the next one
    if (existsSync(path) && !readFileSync(path, 'utf8').endsWith('\n')) appendFileSync(path, '\n');
  }

  /** All that was ever announced. */
  read(): readonly Resource[] {
    return existsSync(this.path) ? parseJournal(readFileSync(this.path, 'utf8')) : [];
  }

  /** Announces a resource; on disk when this returns (page cache: what a SIGKILL can't take). */
  add(resource: Resource): void {
    const line = JSON.stringify(resource);
    if (this.#known.has(line)) return;
    appendFileSync(this.path, `${line}\n`);
    this.#known.add(line);
  }
}
