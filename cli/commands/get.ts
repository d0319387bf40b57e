import type { Command } from 'commander';
import { KINDS } from '../../api/v1alpha1/kinds.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { pathOf } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import {
  withCluster,
  withClusterFlags,
  type CliContext,
  type Cluster,
  type ClusterFlags,
} from '../context.ts';
import { usageError } from '../exit.ts';
import { requireInstallation } from '../installation.ts';
import { formatData, parseOutput } from '../output/data.ts';
import { formatTable } from '../output/table.ts';
import { formatAge } from '../output/age.ts';

interface GetFlags extends ClusterFlags {
  readonly namespace?: string;
  readonly output?: string;
}

interface ServerTable {
  readonly columnDefinitions: readonly {
    readonly name: string;
    readonly type: string;
    readonly priority: number;
  }[];
  readonly rows: readonly {
    readonly cells: readonly unknown[];
    readonly object?: { readonly metadata?: KubeObject['metadata'] };
  }[];
}

const kindOf = (word: string): (typeof KINDS)[number] => {
  const wanted = word.toLowerCase();
  const found = KINDS.find((k) =>
    [k.plural, k.kind.toLowerCase(), ...k.shortNames].some((name) => name === wanted),
  );
  if (found === undefined) {
    throw usageError(`there is no kind "${word}"`, `kinds are: ${KINDS.map((k) => k.plural).join(', ')}`);
  }
  return found;
};

const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';

/** The API server's own columns, so that this shows what kubectl shows. */
const printTable = async (
  cluster: Cluster,
  path: string,
  options: { readonly isWide: boolean; readonly hasNamespaces: boolean },
): Promise<string> => {
  const table = await cluster.client.request<ServerTable>('GET', path, undefined, { accept: TABLE });
  const shown = table.columnDefinitions
    .map((column, index) => ({ ...column, index }))
    .filter((column) => column.priority === 0 || options.isWide);
  const heads = [...(options.hasNamespaces ? ['Namespace'] : []), ...shown.map((column) => column.name)];
  const rows = table.rows.map((row) => [
    ...(options.hasNamespaces ? [row.object?.metadata?.namespace ?? ''] : []),
    ...shown.map(({ index, type, name }) => {
      const cell = row.cells[index];
      const text =
        typeof cell === 'string' || typeof cell === 'number' || typeof cell === 'boolean' ? String(cell) : '';
      return type === 'date' && name === 'Age' ? formatAge(text) : text;
    }),
  ]);
  return rows.length === 0 ? '' : formatTable(heads, rows);
};

const get = async (
  cli: CliContext,
  word: string,
  name: string | undefined,
  flags: GetFlags,
): Promise<void> => {
  const kind = kindOf(word);
  const format = parseOutput(flags.output, ['text', 'wide', 'json', 'yaml', 'name']);
  const isNamespaced = kind.scope === 'Namespaced';
  if (isNamespaced && name !== undefined && flags.namespace === undefined) {
    throw usageError(`${kind.plural} are namespaced`, 'give -n NAMESPACE');
  }
  await withCluster(cli, flags, async (cluster) => {
    await requireInstallation(cluster);
    const path = pathOf(fluviaRef(kind.kind), isNamespaced ? flags.namespace : undefined, name);
    if (format === 'text' || format === 'wide') {
      const text = await printTable(cluster, path, {
        isWide: format === 'wide',
        hasNamespaces: isNamespaced && flags.namespace === undefined,
      });
      cli.terminal.out(text);
      if (text === '') {
        cli.terminal.err(`No ${kind.plural} found.\n`);
      }
      return;
    }
    const data = await cluster.client.request<KubeObject & { readonly items?: readonly KubeObject[] }>(
      'GET',
      path,
    );
    const objects = data.items ?? [data];
    cli.terminal.out(
      format === 'name'
        ? objects.map((object) => `${kind.plural}.fluvia.dev/${object.metadata.name}\n`).join('')
        : formatData(data, format),
    );
  });
};

/** `fluviactl get KIND [NAME]`. */
export const registerGet = (program: Command, cli: CliContext): void => {
  withClusterFlags(program.command('get').description('list objects of a kind, or show one'))
    .argument('<kind>', `one of ${KINDS.map((k) => k.plural).join(', ')}`)
    .argument('[name]')
    .option('-n, --namespace <namespace>', 'namespace (default: all)')
    .option('-o, --output <format>', 'wide, json, yaml or name')
    .action((kind: string, name: string | undefined, flags: GetFlags) => get(cli, kind, name, flags));
};
