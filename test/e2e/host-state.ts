/** What a testbed could leave on the host, as sorted lines to compare before and after. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../testbed/exec.ts';
import { hierarchies } from '../testbed/cgroups.ts';
import { machineRoot, testbedsRoot } from '../testbed/paths.ts';

const list = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);

const groupsBelow = (folder: string, depth: number): readonly string[] =>
  depth === 0 || !existsSync(folder)
    ? []
    : readdirSync(folder, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .flatMap((entry) => [join(folder, entry.name), ...groupsBelow(join(folder, entry.name), depth - 1)]);

/** Processes whose command line or environment mentions `word`, but for this one. */
export const processesThatMention = (word: string): readonly string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const text = `${readFileSync(`/proc/${pid}/cmdline`, 'utf8')} ${readFileSync(`/proc/${pid}/environ`, 'utf8')}`;
        return text.includes(word) ? [`${pid} ${text.replaceAll('\0', ' ').slice(0, 100)}`] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });

/**
 */
export const hostState = async (): Promise<readonly string[]> => {
  const texts = await Promise.all([
    run('ip', ['-o', 'addr']),
    run('ip', ['route']),
    run('ip', ['-o', 'link']),
    run('nft', ['-s', 'list', 'ruleset']),
  ]);
  const [addresses, routes, links, rules] = texts;
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  return [
    ...list('/run/netns').map((name) => `netns ${name}`),
    ...addresses.split('\n').map((line) => `address ${line.split(/\s+/).slice(1, 4).join(' ')}`),
    ...routes.split('\n').map((line) => `route ${line.trim()}`),
    ...links.split('\n').map((line) => `link ${line.split(/\s+/)[1] ?? ''}`),
    ...mounts.map((point) => `mount ${point}`),
    ...rules.split('\n').map((line) => `rule ${line}`),
    ...hierarchies()
      .flatMap(({ own }) => groupsBelow(own, 2))
      .map((folder) => `cgroup ${folder}`),
    ...list(testbedsRoot()).map((name) => `file ${join(testbedsRoot(), name)}`),
    ...[machineRoot, join(machineRoot, 'claims')].flatMap((folder) =>
      list(folder).map((name) => `file ${join(folder, name)}`),
    ),
    `sysctl inotify ${readFileSync('/proc/sys/fs/inotify/max_user_instances', 'utf8').trim()}`,
  ].sort();
};

/** What is in `after` and wasn't in `before`, or the other way round. */
export const difference = (before: readonly string[], after: readonly string[]): readonly string[] => [
  ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
];
