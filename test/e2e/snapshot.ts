/**
 * Snapshots of everything that a cluster and its nodes hold, to prove that uninstalling leaves nothing behind. What
 * changes by itself is found, not listed: two snapshots before the install tell which fields move on their own.
 */

/** Object key → flattened fields. */
export type ClusterSnapshot = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** Runs kubectl against a cluster and returns its standard output. */
export type Kubectl = (args: readonly string[]) => Promise<string>;

/** Runs a command in a node's namespaces and returns its standard output. */
export type NodeExec = (argv: readonly string[]) => Promise<string>;

/** Kinds that are a log or a cache of what happened, not state: their objects come and go by themselves. */
const JOURNALS = [
  'events',
  'events.events.k8s.io',
  'componentstatuses',
  'pods.metrics.k8s.io',
  'nodes.metrics.k8s.io',
];

const flatten = (value: unknown, path: string, into: Map<string, string>): void => {
  if (value !== null && typeof value === 'object') {
    for (const [key, inner] of Object.entries(value)) {
      flatten(inner, `${path}/${key}`, into);
    }
    return;
  }
  into.set(path, JSON.stringify(value));
};

interface Listed {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** Every object of every kind that can be listed. */
export const snapshotCluster = async (kubectl: Kubectl): Promise<ClusterSnapshot> => {
  const names = (await kubectl(['api-resources', '--verbs=list', '-o', 'name']))
    .split('\n')
    .filter((n) => n !== '');
  const kinds = names.filter((name) => !JOURNALS.includes(name)).join(',');
  const list = JSON.parse(await kubectl(['get', kinds, '-A', '-o', 'json'])) as { items: readonly Listed[] };
  const snapshot = new Map<string, Map<string, string>>();
  for (const item of list.items) {
    const fields = new Map<string, string>();
    flatten(item, '', fields);
    snapshot.set(
      `${item.apiVersion} ${item.kind} ${item.metadata.namespace ?? ''}/${item.metadata.name}`,
      fields,
    );
  }
  return snapshot;
};

/**
 * What differs between `before` and `now`, one line each, leaving out what already differed between `earlier` and
 * `before` by itself, and fields of objects that changed their shape by themselves (lists that grew).
 */
export const compareClusters = (
  earlier: ClusterSnapshot,
  before: ClusterSnapshot,
  now: ClusterSnapshot,
): string[] => {
  const differences: string[] = [];
  for (const key of now.keys()) {
    if (!before.has(key) && !earlier.has(key)) {
      differences.push(`+ ${key}`);
    }
  }
  for (const [key, fields] of before) {
    const restless = earlier.get(key);
    const current = now.get(key);
    if (restless === undefined) {
      continue;
    }
    if (current === undefined) {
      differences.push(`- ${key}`);
      continue;
    }
    for (const path of new Set([...fields.keys(), ...current.keys()])) {
      const moves = restless.get(path) !== fields.get(path);
      // an object whose resourceVersion moves by itself also has managed fields and times that do
      // and a node lists the images that it holds, some time after they came
      const bookkeeping =
        /^\/metadata\/(?:resourceVersion|managedFields|generation)|^\/status\/images\//.test(path);
      if (!moves && !bookkeeping && fields.get(path) !== current.get(path)) {
        differences.push(
          `~ ${key} ${path}: ${fields.get(path) ?? 'absent'} -> ${current.get(path) ?? 'absent'}`,
        );
      }
    }
  }
  return differences;
};

/**
 * kube-proxy's tables follow the cluster's Services at its own pace (chains of a deleted one stay until a later sync), so they
 * are its state, not what Fluvia left.
 */
const withoutKubeProxy = (ruleset: string): string =>
  ruleset
    .split(/^(?=table )/m)
    .filter((table) => !/^table \S+ kube-proxy /.test(table))
    .join('');

/** The network state of a node as sorted lines: nftables without counters, links, routes, rules, WireGuard. */
export const snapshotNode = async (exec: NodeExec): Promise<string[]> => {
  const lines: string[] = [];
  const add = (title: string, text: string): void => {
    lines.push(
      ...text
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => `${title}: ${line.trimEnd()}`),
    );
  };
  add('nft', withoutKubeProxy(await exec(['nft', '-s', 'list', 'ruleset'])));
  const links = JSON.parse(await exec(['ip', '-j', 'link'])) as readonly {
    ifname: string;
    mtu: number;
    master?: string;
  }[];
  add(
    'link',
    links
      .map((l) => `${l.ifname} mtu ${l.mtu} ${l.master ?? ''}`)
      .sort()
      .join('\n'),
  );
  add('address', await exec(['ip', '-o', '-4', 'address', 'show']));
  add('route', (await exec(['ip', '-4', 'route', 'show', 'table', 'all'])).split('\n').sort().join('\n'));
  add('rule', await exec(['ip', '-4', 'rule', 'show']));
  add('wg', await exec(['wg', 'show', 'all', 'dump']));
  return lines;
};

/** Lines that are in one list only, marked by side. */
export const compareLines = (before: readonly string[], now: readonly string[]): string[] => {
  const old = new Set(before);
  const current = new Set(now);
  return [
    ...before.filter((l) => !current.has(l)).map((l) => `- ${l}`),
    ...now.filter((l) => !old.has(l)).map((l) => `+ ${l}`),
  ];
};
