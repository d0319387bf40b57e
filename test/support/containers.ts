import { ensureTool } from '../testbed/tools.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** A running container as a node's containerd knows it, whatever any API server says. */
export interface RunningContainer {
  readonly namespace: string;
  readonly pod: string;
  readonly podUID: string;
  readonly container: string;
}

/** What ran on each node (`CLUSTER/NODE`) at about one moment; a node that could not be looked at is missing. */
export interface ContainerSample {
  readonly atMs: number;
  readonly nodes: ReadonlyMap<string, readonly RunningContainer[]>;
}

interface ContainerInfo {
  readonly Labels?: Readonly<Record<string, string>>;
}

const label = (info: ContainerInfo, name: string): string => info.Labels?.[`io.kubernetes.${name}`] ?? '';

/** Looks at the running containers of nodes through `ctr -n k8s.io`. */
export const createContainerWatch = async (testbed: Testbed, nodes: readonly string[]) => {
  const { files } = await ensureTool('containerd');
  const ctr = [files['ctr'] ?? 'ctr', '-n', 'k8s.io'];
  /** A container's labels never change. */
  const known = new Map<string, RunningContainer | undefined>();

  const describe = async (node: string, id: string): Promise<RunningContainer | undefined> => {
    const { code, stdout } = await Promise.resolve()
      .then(() => testbed.execNode(node, [...ctr, 'containers', 'info', id]))
      .catch(() => ({ code: 1, stdout: '' }));
    if (code !== 0) return undefined;
    const info = JSON.parse(stdout) as ContainerInfo;
    const isContainer = info.Labels?.['io.cri-containerd.kind'] === 'container';
    const found = isContainer
      ? {
          namespace: label(info, 'pod.namespace'),
          pod: label(info, 'pod.name'),
          podUID: label(info, 'pod.uid'),
          container: label(info, 'container.name'),
        }
      : undefined;
    known.set(id, found);
    return found;
  };

  const look = async (node: string): Promise<readonly RunningContainer[] | undefined> => {
    // A node that is down can't be entered.
    const { code, stdout } = await Promise.resolve()
      .then(() => testbed.execNode(node, [...ctr, 'tasks', 'ls']))
      .catch(() => ({ code: 1, stdout: '' }));
    if (code !== 0) return undefined;
    const ids = stdout
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , status]) => status === 'RUNNING')
      .map(([id = '']) => id);
    const fresh = ids.filter((id) => !known.has(id));
    await Promise.all(fresh.map((id) => describe(node, id)));
    const found = ids.map((id) => known.get(id));
    return found.filter((one) => one !== undefined);
  };

  const sample = async (): Promise<ContainerSample> => {
    const atMs = Date.now();
    const seen = await Promise.all(nodes.map(async (node) => [node, await look(node)] as const));
    return {
      atMs,
      nodes: new Map(seen.flatMap(([node, list]) => (list === undefined ? [] : [[node, list]]))),
    };
  };

  return { sample };
};

/** Takes a sample every `everyMs` until stopped. */
export const recordContainers = (
  watch: { readonly sample: () => Promise<ContainerSample> },
  everyMs: number,
): { readonly samples: readonly ContainerSample[]; readonly stop: () => Promise<void> } => {
  const samples: ContainerSample[] = [];
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const next = Date.now() + everyMs;
      samples.push(await watch.sample());
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - Date.now())));
    }
  };
  const running = run();
  return {
    samples,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
};
