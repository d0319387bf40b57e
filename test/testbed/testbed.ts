/**
 * The testbed as a library: real Kubernetes clusters in network namespaces of this machine. What people do by
 * `npm run testbed`, tests, demo and benchmarks do by this file.
 */
import { constants, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { ensureImage, IMAGE_NAMES, STORAGE_IMAGE_NAMES, type ImageName } from '../images/images.ts';
import { claimSlot } from './claims.ts';
import { bringUp, importMissing } from './cluster.ts';
import { TestbedError } from './errors.ts';
import { run, runAttached, tryRun, type RunOptions, type RunResult } from './exec.ts';
import { Journal } from './journal.ts';
import { withLock } from './lock.ts';
import { applyPartitions, makeInternet, type Partition } from './network.ts';
import { enterArguments, initOf, isRunning, stopNode, type NodeContext, type NodeTools } from './node.ts';
import { ensurePackages } from './packages.ts';
import { planTestbed, type ClusterPlan, type ClusterShape, type NodePlan } from './plan-addresses.ts';
import { removeEmptyRoots, removeTestbed } from './remove.ts';
import {
  checkStateFileSystem,
  lockPath,
  makeStateFolder,
  readState,
  stateFolder,
  testbedNames,
  writeState,
  type TestbedState,
} from './state.ts';
import { ensureTool, needsBuild, requireGo } from './tools.ts';

export type Report = (line: string) => void;

export interface UpOptions {
  /** Default `default`. */
  readonly name?: string;
  readonly clusters: readonly ClusterShape[];
  /** Gives each node a disk and each cluster a provisioner with a default StorageClass. */
  readonly storage?: boolean;
  /** Gets progress lines; nothing by default. */
  readonly report?: Report;
}

const silent: Report = () => undefined;
const GRACE_MS = 8000;

const isShapeOf = (state: TestbedState, shape: readonly ClusterShape[]): boolean =>
  JSON.stringify(state.plan.clusters.map(({ name, nodes }) => [name, nodes.length])) ===
  JSON.stringify(shape.map(({ name, nodes }) => [name, nodes]));

const imagesOf = (storage: boolean): readonly ImageName[] => [
  ...IMAGE_NAMES,
  ...(storage ? STORAGE_IMAGE_NAMES : []),
];

const describe = (state: TestbedState): string =>
  state.plan.clusters.map(({ name, nodes }) => `${name}=${nodes.length}`).join(',');

/** Refuses, before anything is made, what can't work on this host. */
const checkHost = async (report: Report): Promise<void> => {
  if (process.platform !== 'linux')
    throw new TestbedError('the testbed needs Linux', 'Run it in a Linux virtual machine.');
  if (process.getuid?.() !== 0)
    throw new TestbedError(
      'the testbed needs root: it makes network namespaces, mounts and cgroups',
      'Run it again with sudo, or in a virtual machine as root.',
    );
  checkStateFileSystem();
  await ensurePackages(['run', 'buildImages'], report);
  const builds = await Promise.all(
    (['kube', 'containerd', 'runc', 'cni', 'coredns'] as const).map(needsBuild),
  );
  if (builds.includes(true)) requireGo();
};

const ensureNodeTools = async (report: Report): Promise<NodeTools> => {
  // one after the other: each build uses all cores
  const kube = await ensureTool('kube', report);
  const containerd = await ensureTool('containerd', report);
  const runc = await ensureTool('runc', report);
  const cni = await ensureTool('cni', report);
  const { containerd: daemon = '', ctr = '' } = containerd.files;
  return {
    kube: kube.files,
    containerd: daemon,
    ctr,
    containerdFolder: containerd.dir,
    runc: runc.files.runc ?? '',
    cniFolder: cni.dir,
  };
};

/** Stamps lines with the seconds since it was made. */
const timed = (report: Report): Report => {
  const start = performance.now();
  return (line) => report(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`);
};

const contextOf = (state: TestbedState): NodeContext => {
  const folder = stateFolder(state.plan.name);
  return {
    plan: state.plan,
    tools: state.tools,
    journal: new Journal(join(folder, 'journal.jsonl')),
    clusterFolder: (cluster) => join(folder, 'clusters', cluster),
    storage: state.storage === true,
  };
};

const loadedImages = (context: NodeContext, cluster: string): readonly string[] => {
  const folder = join(context.clusterFolder(cluster), 'images');
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.tar'))
        .sort()
        .map((name) => join(folder, name))
    : [];
};

/** A node as people see it. */
export interface NodeStatus {
  readonly name: string;
  readonly ip: string;
  readonly podCidr: string;
  readonly running: boolean;
}

export interface TestbedStatus {
  readonly name: string;
  readonly phase: 'starting' | 'ready';
  readonly folder: string;
  readonly clusters: readonly {
    readonly name: string;
    readonly server: string;
    readonly kubeconfig: string;
    readonly nodes: readonly NodeStatus[];
  }[];
  readonly partitions: readonly Partition[];
}

/** A testbed that is up (or was: nodes may be stopped). Methods throw {@link TestbedError}. */
export class Testbed {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Makes the testbed, or makes it whole again; quick when it is. Another shape under the same name is an error. */
  static async up(options: UpOptions): Promise<Testbed> {
    const { name = 'default', clusters: shape, report = silent, storage = false } = options;
    const step = timed(report);
    await checkHost(step);
    if (storage) await ensurePackages(['storage'], step);
    await withLock(lockPath(name), () => Testbed.#upLocked(name, shape, storage, step), {
      onWait: (pid) => step(`waiting for process ${pid}, which is working on testbed ${name}`),
    });
    return new Testbed(name);
  }

  static async #upLocked(
    name: string,
    shape: readonly ClusterShape[],
    storage: boolean,
    step: Report,
  ): Promise<void> {
    let state = readState(name);
    const isOther = state !== undefined && (!isShapeOf(state, shape) || (storage && state.storage !== true));
    if (state !== undefined && state.phase === 'ready' && isOther) {
      throw new TestbedError(
        `testbed ${name} is up with ${describe(state)}${state.storage === true ? '' : ' and no storage'}`,
        `Take it down first (npm run testbed -- down --name ${name}), or choose another --name.`,
      );
    }
    const tools = await ensureNodeTools(step);
    await ensureTool('coredns', step);
    const images = await Promise.all(
      imagesOf(storage || state?.storage === true).map((image) => ensureImage(image, step)),
    );
    if (state?.phase !== 'ready') {
      if (testbedNames().includes(name)) {
        step(`taking away what an unfinished up left of ${name}`);
        await removeTestbed(name);
      }
      const folder = makeStateFolder(name);
      const journal = new Journal(join(folder, 'journal.jsonl'));
      const plan = planTestbed(name, await claimSlot(journal, folder), shape);
      state = { plan, phase: 'starting', tools, partitions: [], storage };
      writeState(state);
      await makeInternet(journal, plan);
      step(`network ${plan.subnet}.0/24 claimed, underlay made`);
    }
    const context = contextOf(state);
    const { plan } = state;
    // all at once, but one failure must not leave the others working in the background
    const results = await Promise.allSettled(
      plan.clusters.map((cluster) =>
        bringUp(context, cluster, cluster.nodes, [...images, ...loadedImages(context, cluster.name)], step),
      ),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    if (state.phase !== 'ready') writeState({ ...state, phase: 'ready' });
    step(`testbed ${name} is up: ${describe(state)}`);
  }

  /** The testbed of this name, as an earlier `up` left it. */
  static open(name = 'default'): Testbed {
    if (readState(name) === undefined)
      throw new TestbedError(
        `there is no testbed ${name}`,
        `Make it: npm run testbed -- up${name === 'default' ? '' : ` --name ${name}`}`,
      );
    return new Testbed(name);
  }

  /** Takes a testbed away with everything it made, whatever state it is in. Nothing happens if there is none. */
  static async down(name = 'default', report: Report = silent): Promise<void> {
    const step = timed(report);
    if (!existsSync(stateFolder(name)) && !existsSync(lockPath(name))) {
      step(`there is no testbed ${name}`);
      return;
    }
    await withLock(lockPath(name), () => removeTestbed(name), {
      onWait: (pid) => step(`waiting for process ${pid}, which is working on testbed ${name}`),
    });
    removeEmptyRoots();
    step(`testbed ${name} is gone`);
  }

  /** Names of this user's testbeds. */
  static names(): readonly string[] {
    return testbedNames();
  }

  get #state(): TestbedState {
    const state = readState(this.name);
    if (state === undefined)
      throw new TestbedError(`there is no testbed ${this.name}`, 'Make it: npm run testbed -- up');
    return state;
  }

  #cluster(name: string): ClusterPlan {
    const { clusters } = this.#state.plan;
    const found = clusters.find((cluster) => cluster.name === name);
    if (found === undefined)
      throw new TestbedError(
        `testbed ${this.name} has no cluster ${name}`,
        `It has: ${clusters.map((cluster) => cluster.name).join(', ')}.`,
      );
    return found;
  }

  /** `CLUSTER`, `CLUSTER/NODE` (its name or number), or a node's name alone → its nodes. */
  #nodes(target: string): readonly NodePlan[] {
    const [cluster = '', node] = target.split('/');
    const byName = this.#state.plan.clusters
      .flatMap(({ nodes }) => nodes)
      .find(({ name }) => name === target);
    if (byName !== undefined) return [byName];
    const { nodes } = this.#cluster(cluster);
    if (node === undefined) return nodes;
    const found = nodes.find(({ name }) => name === node || name === `${cluster}-${node}`);
    if (found === undefined)
      throw new TestbedError(
        `cluster ${cluster} has no node ${node}`,
        `It has: ${nodes.map(({ name }) => name).join(', ')}.`,
      );
    return [found];
  }

  #node(target: string): NodePlan {
    const [node] = this.#nodes(target);
    if (node === undefined) throw new TestbedError(`no node ${target}`, 'Name it CLUSTER/NODE.');
    return node;
  }

  /** Clusters in their order, with their nodes' names and addresses. */
  get clusters(): readonly ClusterPlan[] {
    return this.#state.plan.clusters;
  }

  status(): TestbedStatus {
    const state = this.#state;
    const context = contextOf(state);
    return {
      name: this.name,
      phase: state.phase,
      folder: stateFolder(this.name),
      clusters: state.plan.clusters.map(({ name, server, nodes }) => ({
        name,
        server,
        kubeconfig: join(context.clusterFolder(name), 'kubeconfig'),
        nodes: nodes.map((node) => ({
          name: node.name,
          ip: node.ip,
          podCidr: node.podCidr,
          running: isRunning(context, node),
        })),
      })),
      partitions: state.partitions,
    };
  }

  /** Path of the cluster's administrator kubeconfig; its server is reachable from the host. */
  kubeconfigPath(cluster: string): string {
    return join(contextOf(this.#state).clusterFolder(this.#cluster(cluster).name), 'kubeconfig');
  }

  /** Folder with a node's logs, one per daemon. */
  logFolder(target: string): string {
    const node = this.#node(target);
    return join(contextOf(this.#state).clusterFolder(node.cluster), 'nodes', node.name, 'log');
  }

  /** A node's file system as the host sees it, its `/run` and `/proc` included; undefined while the node is down. */
  nodeRoot(target: string): string | undefined {
    const init = initOf(contextOf(this.#state), this.#node(target));
    return init && `/proc/${init.pid}/root`;
  }

  /** The kubectl that fits these clusters, for a process of one's own (with `KUBECONFIG`). */
  get kubectlPath(): string {
    return this.#state.tools.kube.kubectl ?? 'kubectl';
  }

  /** Runs kubectl; a failure throws with its message. */
  kubectl(cluster: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    return run(this.kubectlPath, args, {
      ...options,
      env: { ...options.env, KUBECONFIG: this.kubeconfigPath(cluster) },
    });
  }

  /** Runs kubectl and returns whatever it says. */
  tryKubectl(cluster: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return tryRun(this.kubectlPath, args, {
      ...options,
      env: { ...options.env, KUBECONFIG: this.kubeconfigPath(cluster) },
    });
  }

  /** Runs kubectl on this terminal; returns its exit code. */
  attachKubectl(cluster: string, args: readonly string[]): Promise<number> {
    return runAttached(this.kubectlPath, args, { KUBECONFIG: this.kubeconfigPath(cluster) });
  }

  /** Runs a command in all namespaces of a node (`CLUSTER/NODE`) and returns whatever it says. */
  execNode(target: string, command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return tryRun(
      'nsenter',
      [...enterArguments(contextOf(this.#state), this.#node(target)), ...command],
      options,
    );
  }

  /** Runs a command in a node's namespaces on this terminal; returns its exit code. */
  attachNode(target: string, command: readonly string[]): Promise<number> {
    return runAttached('nsenter', [
      ...enterArguments(contextOf(this.#state), this.#node(target)),
      ...command,
    ]);
  }

  /** Imports an OCI archive on all nodes of a cluster, and keeps it for those that are down or come later. */
  async load(cluster: string, archive: string): Promise<void> {
    await this.#locked(async (context) => {
      const source = resolve(archive);
      if (!existsSync(source))
        throw new TestbedError(`there is no file ${source}`, 'Give the path of an OCI archive.');
      const { nodes } = this.#cluster(cluster);
      const folder = join(context.clusterFolder(cluster), 'images');
      mkdirSync(folder, { recursive: true });
      const label = `-${basename(source).replace(/\.tar$/, '')}.tar`;
      const older = readdirSync(folder).filter(
        (name) => /^\d+/.exec(name)?.[0] === name.slice(0, -label.length) && name.endsWith(label),
      );
      const kept = join(folder, `${Date.now()}${label}`);
      // a copy that shares blocks where the file system can: the source may be rebuilt in place
      copyFileSync(source, `${kept}.part`, constants.COPYFILE_FICLONE);
      renameSync(`${kept}.part`, kept);
      try {
        await Promise.all(
          nodes
            .filter((node) => isRunning(context, node))
            .map((node) => importMissing(context, node, [kept])),
        );
      } catch (error) {
        rmSync(kept, { force: true });
        throw error;
      }
      // what came under the same file name before is not needed by a node that was down either
      for (const name of older) rmSync(join(folder, name), { force: true });
    });
  }

  /** Cuts the underlay between two clusters or nodes: every frame is dropped, both ways. The host still reaches both. */
  async partition(a: string, b: string): Promise<void> {
    await this.#setPartitions(
      (partitions) => [...partitions.filter((pair) => !isSamePair(pair, [a, b])), [a, b]],
      [a, b],
    );
  }

  /** Undoes {@link partition}. */
  async heal(a: string, b: string): Promise<void> {
    await this.#setPartitions((partitions) => partitions.filter((pair) => !isSamePair(pair, [a, b])), [a, b]);
  }

  async #setPartitions(
    change: (partitions: readonly Partition[]) => readonly Partition[],
    pair: Partition,
  ): Promise<void> {
    for (const target of pair) this.#nodes(target);
    await this.#locked(async (context) => {
      const state = this.#state;
      const partitions = change(state.partitions);
      await applyPartitions(context.plan, partitions);
      writeState({ ...state, partitions });
    });
  }

  /** Shuts nodes down (`CLUSTER` or `CLUSTER/NODE`), their daemons get a few seconds to end. Disks stay. */
  async stop(target: string): Promise<void> {
    await this.#stop(target, GRACE_MS);
  }

  /** A power cut: SIGKILL to everything on the nodes, their interfaces and rules are gone at once. Disks stay. */
  async kill(target: string): Promise<void> {
    await this.#stop(target, 0);
  }

  async #stop(target: string, graceMs: number): Promise<void> {
    const nodes = this.#nodes(target);
    await this.#locked(async (context) => {
      await Promise.all(nodes.map((node) => stopNode(context, node, graceMs)));
    });
  }

  /** Boots nodes that are down; returns when they are Ready. */
  async start(target: string, report: Report = silent): Promise<void> {
    const [first] = this.#nodes(target);
    const wanted = new Set(this.#nodes(target).map(({ name }) => name));
    await this.#locked(async (context) => {
      const cluster = this.#cluster(first?.cluster ?? '');
      const images = await Promise.all(imagesOf(context.storage).map((image) => ensureImage(image)));
      const nodes = cluster.nodes.filter((node) => wanted.has(node.name) || isRunning(context, node));
      await bringUp(
        context,
        cluster,
        nodes,
        [...images, ...loadedImages(context, cluster.name)],
        timed(report),
      );
    });
  }

  /** Takes this testbed away. */
  down(report: Report = silent): Promise<void> {
    return Testbed.down(this.name, report);
  }

  async #locked(work: (context: NodeContext) => Promise<void>): Promise<void> {
    await withLock(lockPath(this.name), () => work(contextOf(this.#state)));
  }
}

const isSamePair = (one: Partition, [a, b]: Partition): boolean =>
  (one[0] === a && one[1] === b) || (one[0] === b && one[1] === a);
