/** nftables: whole transactions in, one table's content out. */
import type { Exec } from './exec.ts';
import { HostToolError } from './exec.ts';

/** NftChain is a chain as the kernel has it; base chains have a hook. */
export interface NftChainState {
  readonly name: string;
  readonly type?: string | undefined;
  readonly hook?: string | undefined;
  readonly priority?: number | undefined;
  /** Comments of its rules, in order; an empty string for a rule without one. */
  readonly ruleComments: readonly string[];
}

/** NftSetState is a set or map: elements as canonical text, `key` or `key : value`, see {@link formatNftExpression}. */
export interface NftSetState {
  readonly name: string;
  /** `ipv4_addr . ipv4_addr`, with ` : ipv4_addr` for a map. */
  readonly type: string;
  readonly elements: readonly string[];
}

export interface NftTableState {
  readonly chains: readonly NftChainState[];
  readonly sets: readonly NftSetState[];
}

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** formatNftExpression writes a value of `nft -j` as nft's language does, without the length of a single address. */
export const formatNftExpression = (value: unknown): string => {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (!isObject(value)) return JSON.stringify(value) ?? '';
  if (isObject(value['elem'])) return formatNftExpression(value['elem']['val']);
  if (isObject(value['prefix'])) {
    const { addr, len } = value['prefix'];
    return len === 32 ? String(addr) : `${String(addr)}/${String(len)}`;
  }
  if (Array.isArray(value['range'])) return value['range'].map(formatNftExpression).join('-');
  if (Array.isArray(value['concat'])) return value['concat'].map(formatNftExpression).join(' . ');
  return JSON.stringify(value);
};

/** On a map's data side a prefix keeps its length, also /32: nft takes an interval there, never a single address. */
const formatData = (value: unknown): string =>
  isObject(value) && isObject(value['prefix'])
    ? `${String(value['prefix']['addr'])}/${String(value['prefix']['len'])}`
    : formatNftExpression(value);

const formatElement = (element: unknown): string =>
  Array.isArray(element)
    ? `${formatNftExpression(element[0])} : ${formatData(element[1])}`
    : formatNftExpression(element);

const typeOf = (value: unknown): string =>
  Array.isArray(value) ? value.map(String).join(' . ') : String(value);

/**
 * parseNftTable reads the output of `nft -j list table`.
 * @throws {HostToolError} when it isn't that.
 */
export const parseNftTable = (text: string): NftTableState => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new HostToolError('nft', 'nft -j did not write JSON', { cause });
  }
  if (!isObject(parsed) || !Array.isArray(parsed['nftables'])) {
    throw new HostToolError('nft', 'nft -j wrote JSON without "nftables"');
  }
  const chains = new Map<string, NftChainState & { readonly ruleComments: string[] }>();
  const sets: NftSetState[] = [];
  for (const item of parsed['nftables'] as unknown[]) {
    if (!isObject(item)) continue;
    const { chain, rule } = item;
    const set = item['set'] ?? item['map'];
    if (isObject(chain)) {
      chains.set(String(chain['name']), {
        name: String(chain['name']),
        type: typeof chain['type'] === 'string' ? chain['type'] : undefined,
        hook: typeof chain['hook'] === 'string' ? chain['hook'] : undefined,
        priority: typeof chain['prio'] === 'number' ? chain['prio'] : undefined,
        ruleComments: [],
      });
    } else if (isObject(rule)) {
      const comment = typeof rule['comment'] === 'string' ? rule['comment'] : '';
      chains.get(String(rule['chain']))?.ruleComments.push(comment);
    } else if (isObject(set)) {
      const elements = Array.isArray(set['elem']) ? set['elem'] : [];
      sets.push({
        name: String(set['name']),
        type: typeOf(set['type']) + (set['map'] === undefined ? '' : ` : ${typeOf(set['map'])}`),
        elements: elements.map(formatElement),
      });
    }
  }
  return { chains: [...chains.values()], sets };
};

/** Nft talks to the kernel's nftables through `nft`. */
export interface Nft {
  /** The table, or undefined when there is none. */
  table(family: string, name: string): Promise<NftTableState | undefined>;
  /** Applies all lines or none. */
  apply(lines: readonly string[]): Promise<void>;
}

/** createNft makes the adapter. */
export const createNft = (exec: Exec): Nft => ({
  table: async (family, name) => {
    try {
      return parseNftTable(await exec('nft', ['-j', 'list', 'table', family, name]));
    } catch (error) {
      if (error instanceof HostToolError && /No such file or directory/.test(error.stderr)) return undefined;
      throw error;
    }
  },
  apply: async (lines) => {
    if (lines.length > 0) await exec('nft', ['-f', '-'], { input: `${lines.join('\n')}\n` });
  },
});
