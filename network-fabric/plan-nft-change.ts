/** The smallest change from the table that the kernel has to the one that a node shall have, and its nft text. */
import type { NftTableState } from '../runtime/host/nft.ts';
import { NFT_TABLE } from './names.ts';
import type { NftChain, NftSet, NftTable } from './plan-nft.ts';

/** `rebuild` replaces the table at once; `change` touches only what differs. Either is one transaction. */
export type NftChange =
  | { readonly kind: 'rebuild'; readonly table: NftTable }
  | { readonly kind: 'delete' }
  | {
      readonly kind: 'change';
      readonly chains: readonly NftChain[];
      readonly elements: readonly NftElementChange[];
    };

export interface NftElementChange {
  readonly set: string;
  readonly remove: readonly string[];
  readonly add: readonly string[];
}

/** A rule's comment: a hash of its text (FNV-1a), so that what the kernel has can be told without parsing rules. */
export const ruleMark = (rule: string): string => {
  let hash = 0x811c9dc5;
  for (const character of rule) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return hash.toString(16).padStart(8, '0');
};

const isSameShape = (state: NftTableState, table: NftTable): boolean => {
  const shapeOfSets = (sets: readonly { readonly name: string; readonly type: string }[]): string =>
    sets
      .map((set) => `${set.name}|${set.type}`)
      .sort()
      .join('\n');
  const shapeOfChains = (chains: readonly Omit<NftTableState['chains'][number], 'ruleComments'>[]): string =>
    chains
      .map((chain) => [chain.name, chain.type, chain.hook, chain.priority].join('|'))
      .sort()
      .join('\n');
  return (
    shapeOfSets(state.sets) === shapeOfSets(table.sets) &&
    shapeOfChains(state.chains) === shapeOfChains(table.chains)
  );
};

const elementChange = (wanted: NftSet, present: readonly string[]): NftElementChange => {
  const want = new Set(wanted.elements);
  const have = new Set(present);
  return {
    set: wanted.name,
    remove: present.filter((element) => !want.has(element)),
    add: wanted.elements.filter((element) => !have.has(element)),
  };
};

const hasSameRules = (chain: NftChain, state: NftTableState): boolean => {
  const comments = state.chains.find((item) => item.name === chain.name)?.ruleComments ?? [];
  return comments.join('\n') === chain.rules.map(ruleMark).join('\n');
};

/** planNftChange gives the change, or undefined when nothing differs; `wanted` undefined means no table. */
export const planNftChange = (
  state: NftTableState | undefined,
  wanted: NftTable | undefined,
): NftChange | undefined => {
  if (wanted === undefined) return state === undefined ? undefined : { kind: 'delete' };
  if (state === undefined || !isSameShape(state, wanted)) return { kind: 'rebuild', table: wanted };
  const chains = wanted.chains.filter((chain) => !hasSameRules(chain, state));
  const elements = wanted.sets
    .map((set) => elementChange(set, state.sets.find((item) => item.name === set.name)?.elements ?? []))
    .filter((change) => change.remove.length > 0 || change.add.length > 0);
  return chains.length === 0 && elements.length === 0 ? undefined : { kind: 'change', chains, elements };
};

const table = `ip ${NFT_TABLE}`;

/** Elements per line: nft's parser is slow on very long lines. */
const ELEMENTS_PER_LINE = 500;

const elementLines = (verb: 'add' | 'delete', set: string, elements: readonly string[]): string[] =>
  Array.from({ length: Math.ceil(elements.length / ELEMENTS_PER_LINE) }, (_, index) => {
    const some = elements.slice(index * ELEMENTS_PER_LINE, (index + 1) * ELEMENTS_PER_LINE);
    return `${verb} element ${table} ${set} { ${some.join(', ')} }`;
  });

const ruleLines = (chain: NftChain): string[] =>
  chain.rules.map((rule) => `add rule ${table} ${chain.name} ${rule} comment "${ruleMark(rule)}"`);

const setLine = (set: NftSet): string => {
  const [key = '', data] = set.type.split(' : ');
  const type = data === undefined ? key : `${key} : ${set.isPrefixMap ? 'interval ' : ''}${data}`;
  return `add ${data === undefined ? 'set' : 'map'} ${table} ${set.name} { type ${type}; flags interval; }`;
};

const rebuildLines = (wanted: NftTable): string[] => [
  // Adding first makes the delete succeed whether or not there was a table.
  `add table ${table}`,
  `delete table ${table}`,
  `add table ${table}`,
  ...wanted.sets.map(setLine),
  ...wanted.chains.map(
    ({ name, type, hook, priority }) =>
      `add chain ${table} ${name} { type ${type} hook ${hook} priority ${priority}; policy accept; }`,
  ),
  ...wanted.sets.flatMap((set) => elementLines('add', set.name, set.elements)),
  ...wanted.chains.flatMap(ruleLines),
];

/** formatNftChange is the transaction's text, line by line. */
export const formatNftChange = (change: NftChange): string[] => {
  if (change.kind === 'delete') return [`delete table ${table}`];
  if (change.kind === 'rebuild') return rebuildLines(change.table);
  return [
    ...change.elements.flatMap(({ set, remove }) => elementLines('delete', set, remove)),
    ...change.elements.flatMap(({ set, add }) => elementLines('add', set, add)),
    ...change.chains.flatMap((chain) => [`flush chain ${table} ${chain.name}`, ...ruleLines(chain)]),
  ];
};
