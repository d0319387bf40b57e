import { safeLine } from './safe-text.ts';

/** A titled branch with what hangs below it. */
export interface Branch {
  readonly title: string;
  readonly children?: readonly (Branch | string)[];
}

const draw = (items: readonly (Branch | string)[], indent: string): readonly string[] =>
  items.flatMap((item, index) => {
    const isLast = index === items.length - 1;
    const title = typeof item === 'string' ? item : item.title;
    const children = typeof item === 'string' ? [] : (item.children ?? []);
    return [
      `${indent}${isLast ? '└─' : '├─'} ${title}`,
      ...draw(children, `${indent}${isLast ? '   ' : '│  '}`),
    ];
  });

/** The tree as text, one line for each item. */
export const formatTree = (root: Branch): string =>
  [root.title, ...draw(root.children ?? [], '')].map((line) => `${safeLine(line)}\n`).join('');
