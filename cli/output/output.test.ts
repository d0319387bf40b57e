import { describe, expect, it } from 'vitest';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { reportOf } from '../exit.ts';
import { formatAge } from './age.ts';
import { formatData } from './data.ts';
import { createSteps, formatDuration } from './steps.ts';
import { formatTable } from './table.ts';
import type { Terminal } from './terminal.ts';
import { formatTree } from './tree.ts';

const capture = (isInteractive: boolean): { terminal: Terminal; text: () => string } => {
  let all = '';
  const add = (text: string): void => {
    all += text;
  };
  return { terminal: { out: add, err: add, isInteractive, style: (_, text) => text }, text: () => all };
};

describe('steps', () => {
  it('are one plain line each when piped, with mark and duration', async () => {
    const { terminal, text } = capture(false);
    let time = 0;
    const steps = createSteps(terminal, () => time);
    await steps.run('First', async (note) => {
      note('something');
      time += 1234;
    });
    await expect(
      steps.run('Second', async () => {
        time += 5;
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(text()).toBe('✓ First (1.2s)\n✗ Second (5ms)\n');
  });

  it('redraw their line on a terminal and leave the same line behind', async () => {
    const { terminal, text } = capture(true);
    await createSteps(terminal, () => 0).run('First', async () => undefined);
    expect(text().endsWith('\r\u001B[K✓ First (0ms)\n')).toBe(true);
  });

  it.each([
    [85, '85ms'],
    [1240, '1.2s'],
    [59_900, '59.9s'],
    [125_000, '2m05s'],
  ])('%d ms are %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('formatTable', () => {
  it('aligns columns and leaves no space at the ends of lines', () => {
    expect(
      formatTable(
        ['Name', 'Link'],
        [
          ['east', 'Up'],
          ['somewhere', ''],
        ],
      ),
    ).toBe('NAME        LINK\neast        Up\nsomewhere\n');
  });
});

describe('what a peer wrote', () => {
  const hostile = 'up\u001B[2J\u001B]0;owned\u0007\u009B31m\r\u202Etxt\nfaked   Ready';
  // oxlint-disable-next-line no-control-regex
  const steering = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202A-\u202E]/;

  it('never steers the terminal and never fakes a line', () => {
    const { terminal, text } = capture(false);
    const steps = createSteps(terminal);
    steps.say(hostile);
    steps.warn(hostile);
    const table = formatTable(['Name'], [[hostile]]);
    const tree = formatTree({ title: hostile, children: [hostile, { title: hostile }] });
    const error = reportOf(
      new FluviaError(ERROR_CODES.PROTOCOL, hostile, { kind: 'terminal', hint: hostile }),
    );
    for (const out of [text(), table, tree, error.line, error.next ?? '']) expect(out).not.toMatch(steering);
    expect([table, tree].map((out) => out.split('\n').length)).toEqual([3, 4]);
    expect(error.line).not.toContain('\n');
  });

  it.each(['json', 'yaml'] as const)('is data still as %s, without codes', (format) => {
    expect(formatData({ message: hostile }, format)).not.toMatch(steering);
  });
});

describe('formatTree', () => {
  it('draws what hangs below what', () => {
    const tree = { title: 'a', children: ['b', { title: 'c', children: ['d', 'e'] }, 'f'] };
    expect(formatTree(tree)).toBe('a\n├─ b\n├─ c\n│  ├─ d\n│  └─ e\n└─ f\n');
  });
});

describe('formatAge', () => {
  const now = Date.parse('2026-11-25T12:00:00Z');
  it.each([
    ['2026-11-25T11:59:15Z', '45s'],
    ['2026-11-25T11:54:30Z', '5m30s'],
    ['2026-11-25T11:30:00Z', '30m'],
    ['2026-11-25T02:00:00Z', '10h'],
    ['2026-11-13T12:00:00Z', '12d'],
    ['2026-11-25T12:00:10Z', '0s'],
    ['5m', '5m'],
  ])('%s is %s', (time, age) => {
    expect(formatAge(time, now)).toBe(age);
  });
});
