/**
 * The testbed as a library: real Kubernetes clusters in network namespaces of this machine. What people do by
 * `npm run testbed`, tests, demo and benchmarks do by this file.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureImage } from '../images/images.ts';
import { bringUp } from './cluster.ts';
import { contextOf } from './context.ts';
import { TestbedError } from './errors.ts';
import { run, runAttached, tryRun, type RunOptions, type RunResult } from './exec.ts';
import { imagesOf, loadedImages, loadImage } from './loaded-images.ts';
import { withLock } from './lock.ts';
import { checkHost, makeTestbed } from './make.ts';
import { applyPartitions, type Partition } from './network.ts';
import { enterArguments, initOf, isRunning, stopNode, type NodeContext } from './node.ts';
import { ensurePackages } from './packages.ts';
import type { ClusterPlan, ClusterShape, NodePlan } from './plan-addresses.ts';
import { removeEmptyRoots, removeTestbed, tidyRoots } from './remove.ts';
import { silent, timed, type Report } from './report.ts';
import { lockPath, readState, stateFolder, testbedNames, writeState, type TestbedState } from './state.ts';

export interface UpOptions {
  /** Default `default`. */
  readonly name?: string;
  readonly clusters: readonly ClusterShape[];
  /** Gives each node a disk and each cluster a provisioner with a default StorageClass. */
  readonly storage?: boolean;
  /** Gets progress lines; nothing by default. */
  readonly report?: Report;
}

const GRACE_MS = 8000;

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
    await withLock(lockPath(name), () => makeTestbed(name, shape, storage, step), {
      onWait: (pid) => step(`waiting for process ${pid}, which is working on testbed ${name}`),
    });
    return new Testbed(name);
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
      // An `up` that was killed before it had the lock.
      tidyRoots();
      removeEmptyRoots();
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
    await this.#locked((context) => loadImage(context, this.#cluster(cluster), archive));
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
