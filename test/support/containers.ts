/**
 * What runs on nodes, whatever any API server says: containerd's own records of its tasks, read from the host without
 * starting a process, so that several looks in a second cost little.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { ensureTool } from '../testbed/tools.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** A running container of a pod. */
export interface RunningContainer {
  readonly id: string;
  readonly namespace: string;
  readonly pod: string;
  readonly podUID: string;
  readonly container: string;
}

/** What ran on each node (`CLUSTER/NODE`) at about one moment; a node that is down is missing. */
export interface ContainerSample {
  readonly atMs: number;
  readonly nodes: ReadonlyMap<string, readonly RunningContainer[]>;
}

/** Where the shims keep a folder for each task of the kubelet's: the OCI configuration and the pid of its first process. */
const TASKS = '/run/containerd/io.containerd.runtime.v2.task/k8s.io';
const CRI = 'io.kubernetes.cri';

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // gone, or not written yet
  }
};

const list = (path: string): readonly string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

/** Who the container is, from its OCI configuration; null for a pod's sandbox. */
const parseConfig = (id: string, config: string): RunningContainer | null => {
  const { annotations = {} } = JSON.parse(config) as {
    readonly annotations?: Readonly<Record<string, string>>;
  };
  if (annotations[`${CRI}.container-type`] !== 'container') return null;
  return {
    id,
    namespace: annotations[`${CRI}.sandbox-namespace`] ?? '',
    pod: annotations[`${CRI}.sandbox-name`] ?? '',
    podUID: annotations[`${CRI}.sandbox-uid`] ?? '',
    container: annotations[`${CRI}.container-name`] ?? '',
  };
};

/** Whether the task's first process lives: a zombie doesn't. */
const isAlive = (root: string, id: string): boolean => {
  const pid = read(`${root}${TASKS}/${id}/init.pid`)?.trim();
  const stat = pid && read(`${root}/proc/${pid}/stat`);
  return stat ? !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2)) : false;
};

/** Returns a function that looks at all containers that run on the nodes now. */
export const createContainerLook = (testbed: Testbed, nodes: readonly string[]): (() => ContainerSample) => {
  /** A container's configuration never changes. */
  const known = new Map<string, RunningContainer | null>();
  const identify = (root: string, id: string): RunningContainer | null => {
    const found = known.get(id);
    if (found !== undefined) return found;
    const config = read(`${root}${TASKS}/${id}/config.json`);
    if (config === undefined) return null;
    const container = parseConfig(id, config);
    known.set(id, container);
    return container;
  };
  const look = (root: string): readonly RunningContainer[] =>
    list(`${root}${TASKS}`).flatMap((id) => {
      const container = identify(root, id);
      return container !== null && isAlive(root, id) ? [container] : [];
    });
  return () => {
    const atMs = Date.now();
    const seen = nodes.flatMap((node) => {
      const root = testbed.nodeRoot(node);
      return root === undefined ? [] : [[node, look(root)] as const];
    });
    return { atMs, nodes: new Map(seen) };
  };
};

/** IDs of the tasks that a node's containerd calls running (sandboxes included), asked by `ctr`: slow, for a comparison. */
export const runningTasks = async (testbed: Testbed, node: string): Promise<ReadonlySet<string>> => {
  const { files } = await ensureTool('containerd');
  const { stdout } = await testbed.execNode(node, [files['ctr'] ?? 'ctr', '-n', 'k8s.io', 'tasks', 'ls']);
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/));
  return new Set(rows.flatMap(([id = '', , status]) => (status === 'RUNNING' ? [id] : [])));
};

/** Samples that are being taken. */
export interface ContainerRecorder {
  readonly samples: readonly ContainerSample[];
  readonly stop: () => Promise<void>;
}

/** What {@link recordContainers} tells its thread. */
export interface RecorderTask {
  readonly testbed: string;
  readonly nodes: readonly string[];
  readonly everyMs: number;
}

/** Takes a sample every `everyMs` until stopped, on a thread of its own: a busy caller delays none. */
export const recordContainers = (
  testbed: Testbed,
  nodes: readonly string[],
  everyMs: number,
): ContainerRecorder => {
  const samples: ContainerSample[] = [];
  const workerData: RecorderTask = { testbed: testbed.name, nodes, everyMs };
  const worker = new Worker(new URL('./container-recorder.ts', import.meta.url), { workerData });
  let failure: Error | undefined;
  worker.on('message', (sample: ContainerSample) => samples.push(sample));
  worker.on('error', (error: Error) => (failure = error));
  return {
    samples,
    stop: async () => {
      await worker.terminate();
      if (failure !== undefined) throw failure;
    },
  };
};
