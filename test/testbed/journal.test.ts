import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Journal, parseJournal, removalOrder, type Resource } from './journal.ts';

const netns = (name: string): Resource => ({ kind: 'netns', name });

describe('Journal', () => {
  let room = '';
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'fluvia-journal-'));
  });
  afterEach(() => rmSync(room, { recursive: true }));

  it('remembers over restarts, each resource once', () => {
    const path = join(room, 'journal');
    new Journal(path).add(netns('a'));
    const again = new Journal(path);
    again.add(netns('a'));
    again.add(netns('b'));
    expect(new Journal(path).read()).toEqual([netns('a'), netns('b')]);
  });

  it('survives a line that a crash cut short', () => {
    const path = join(room, 'journal');
    new Journal(path).add(netns('a'));
    appendFileSync(path, '{"kind":"netns","na');
    new Journal(path).add(netns('b'));
    expect(parseJournal(readFileSync(path, 'utf8'))).toEqual([netns('a'), netns('b')]);
  });

  it('removes processes before groups, groups before links and namespaces, the newest of a kind first, claims last', () => {
    const resources: readonly Resource[] = [
      { kind: 'claim', path: 'c' },
      netns('a'),
      { kind: 'link', name: 'l' },
      netns('b'),
      { kind: 'cgroup', path: '/g' },
      { kind: 'cgroup', path: '/g/n' },
      { kind: 'process', pid: 1, startTime: '2', bootId: 'x' },
      netns('a'),
    ];
    expect(
      removalOrder(resources).map((r) =>
        r.kind === 'netns' ? r.name : r.kind === 'cgroup' ? r.path : r.kind,
      ),
    ).toEqual(['process', '/g/n', '/g', 'link', 'b', 'a', 'claim']);
  });
});
