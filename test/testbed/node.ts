/** The life of one node: start, stop, kill, look inside. A node is one process tree in namespaces of its own. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import { TestbedError } from './errors.ts';
import { run, tryRun } from './exec.ts';
import type { Journal } from './journal.ts';
import { makeNodeNetwork, removeNodeNetwork } from './network.ts';
import { nodeFiles, type NodePaths } from './node-config.ts';
import { repositoryRoot } from './paths.ts';
import type { ClusterPlan, NodePlan, TestbedPlan } from './plan-addresses.ts';
import { makeVolumesImage } from './volumes.ts';
import { childrenOf, identify, isAlive, signal, waitUntil, type ProcessId } from './processes.ts';

/** Programs that a node runs, by absolute path. */
export interface NodeTools {
  readonly kube: Readonly<Record<string, string>>;
  readonly containerd: string;
  readonly ctr: string;
  /** containerd's shims are looked up there. */
  readonly containerdFolder: string;
  readonly runc: string;
  readonly cniFolder: string;
}

/** All that the functions of this file need to know of a testbed. */
export interface NodeContext {
  readonly plan: TestbedPlan;
  readonly journal: Journal;
  readonly tools: NodeTools;
  /** Folder of a cluster: `pki`, `nodes`, `images`. */
  readonly clusterFolder: (cluster: string) => string;
  /** Whether nodes have a disk for volumes. */
  readonly storage: boolean;
}

interface Running extends ProcessId {
  readonly cgroups: readonly string[];
}

export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

export const nodeFolder = (context: NodeContext, node: NodePlan): string =>
  join(context.clusterFolder(node.cluster), 'nodes', node.name);

/** The recorded outer process of a node, if it was ever started. */
const recorded = (context: NodeContext, node: NodePlan): Running | undefined => {
  try {
    return JSON.parse(readFileSync(join(nodeFolder(context, node), 'process.json'), 'utf8')) as Running;
  } catch {
    return undefined;
  }
};

/** The node's process 1 as the host sees it; undefined when the node is down. */
export const initOf = (context: NodeContext, node: NodePlan): ProcessId | undefined => {
  const outer = recorded(context, node);
  if (outer === undefined || !isAlive(outer)) return undefined;
  const [pid] = childrenOf(outer.pid);
  return pid === undefined ? undefined : identify(pid);
};

export const isRunning = (context: NodeContext, node: NodePlan): boolean =>
  initOf(context, node) !== undefined;

// It does nothing until told to: a process that wasn't recorded, because its starter was killed, ends by itself.
const LAUNCH = `read -r word && [ "$word" = go ] || exit 1
exec < /dev/null
netns=$1 init=$2; shift 2
for group in "$@"; do echo $$ > "$group/cgroup.procs" || exit 1; done
exec nsenter --net="/run/netns/$netns" unshare -m -u -i -C -p -f --kill-child bash "$init"`;

/** Starts a node that is down; returns when its mounts stand and its daemons are starting. Keeps what its disk held. */
export const startNode = async (
  context: NodeContext,
  cluster: ClusterPlan,
  node: NodePlan,
): Promise<void> => {
  const { journal, plan, tools } = context;
  const folder = nodeFolder(context, node);
  const pki = join(context.clusterFolder(cluster.name), 'pki');
  const paths: NodePaths = { folder, pki, kube: tools.kube, containerd: tools.containerd, runc: tools.runc };
  const cgroups = makeCgroups(journal, plan.prefix, node.name);
  rmSync(join(folder, 'conf'), { recursive: true, force: true });
  for (const [file, text] of Object.entries({ ...nodeFiles(cluster, node, paths), cgroups: cgroups.conf })) {
    const path = join(folder, 'conf', file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  mkdirSync(join(folder, 'log'), { recursive: true });
  mkdirSync(join(folder, 'state'), { recursive: true });
  rmSync(join(folder, 'state', 'booted'), { force: true });
  if (context.storage) await makeVolumesImage(journal, folder);
  await removeNodeNetwork(plan, node);
  await makeNodeNetwork(journal, plan, cluster, node);

  const log = openSync(join(folder, 'log', 'node.log'), 'a');
  const child = spawn(
    'bash',
    [
      '-c',
      LAUNCH,
      'testbed-node',
      node.netns,
      join(repositoryRoot, 'test/testbed/node-init.sh'),
      ...cgroups.folders,
    ],
    {
      cwd: '/',
      detached: true,
      stdio: ['pipe', log, log],
      env: {
        PATH: `${tools.containerdFolder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        HOME: '/root',
        NODE_DIR: folder,
        NODE_NAME: node.name,
        API: cluster.server,
        CNI_BIN: tools.cniFolder,
      },
    },
  );
  closeSync(log);
  const id = child.pid === undefined ? undefined : identify(child.pid);
  if (id === undefined)
    throw new TestbedError(`node ${node.name} did not start`, `See ${folder}/log/node.log.`);
  journal.add({ kind: 'process', bootId: bootId(), ...id });
  const running: Running = { ...id, cgroups: cgroups.folders };
  writeFileSync(join(folder, 'process.json'), JSON.stringify(running));
  child.unref();
  await new Promise<void>((resolve) => child.stdin?.end('go\n', () => resolve()));
  const booted = await waitUntil(() => existsSync(join(folder, 'state', 'booted')) || !isAlive(id), 20_000);
  if (!booted || !isAlive(id))
    throw new TestbedError(`node ${node.name} did not boot`, `See ${folder}/log/node.log.`);
};

/** Ends an outer process and all below it; true when nothing of it is left. */
export const endTree = async (outer: ProcessId, graceMs: number): Promise<boolean> => {
  const init = (): ProcessId | undefined => {
    const [pid] = isAlive(outer) ? childrenOf(outer.pid) : [];
    return pid === undefined ? undefined : identify(pid);
  };
  const first = init();
  if (first !== undefined && graceMs > 0) {
    signal(first, 'SIGTERM');
    await waitUntil(() => !isAlive(first), graceMs);
  }
  // process 1 of the namespace rather than its parent: the parent then reaps it, and ends by itself
  if (first !== undefined) {
    signal(first, 'SIGKILL');
    // long on a busy disk: the last process of a mount namespace unmounts, and an overlay syncs
    await waitUntil(() => !isAlive(first) && !isAlive(outer), 20_000, 20);
  }
  signal(outer, 'SIGKILL');
  return waitUntil(() => !isAlive(outer) && (first === undefined || !isAlive(first)), 5000, 20);
};

/**
 * Takes a node down: with `graceMs` its daemons get that long to end well, with 0 it is a power cut. Its namespaces,
 * interfaces, rules and groups go; its disk stays.
 */
export const stopNode = async (context: NodeContext, node: NodePlan, graceMs: number): Promise<void> => {
  const outer = recorded(context, node);
  if (outer !== undefined) {
    await endTree(outer, graceMs);
    const left = await removeCgroups(outer.cgroups);
    if (left.length > 0)
      throw new TestbedError(
        `cgroups of node ${node.name} are still busy: ${left.join(' ')}`,
        'Run `npm run testbed -- down` again.',
      );
    rmSync(join(nodeFolder(context, node), 'process.json'), { force: true });
  }
  await removeNodeNetwork(context.plan, node);
};

/** Arguments of `nsenter` that bring a command into all namespaces of a running node. */
export const enterArguments = (context: NodeContext, node: NodePlan): readonly string[] => {
  const init = initOf(context, node);
  if (init === undefined)
    throw new TestbedError(
      `node ${node.name} is not running`,
      `Start it: npm run testbed -- start ${node.cluster}/${node.name}`,
    );
  return ['-t', String(init.pid), '-m', '-u', '-i', '-n', '-p', '-C', '--'];
};

/** Imports an image archive into a running node's containerd, waiting for it to come up. */
export const importImage = async (context: NodeContext, node: NodePlan, archive: string): Promise<void> => {
  const ctr = (...args: readonly string[]): Parameters<typeof run> => [
    'nsenter',
    [...enterArguments(context, node), context.tools.ctr, '-n', 'k8s.io', ...args],
  ];
  const up = await waitUntil(async () => (await tryRun(...ctr('version'))).code === 0, 60_000, 200);
  if (!up)
    throw new TestbedError(
      `containerd of node ${node.name} does not answer`,
      `See ${nodeFolder(context, node)}/log/containerd.log.`,
    );
  await run(...ctr('images', 'import', '--local', '--snapshotter', 'overlayfs', archive));
};
