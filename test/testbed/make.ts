/** Makes a testbed: what it needs of the host, its network, its nodes. */
import { join } from 'node:path';
import { ensureImage } from '../images/images.ts';
import { claimSlot } from './claims.ts';
import { bringUp } from './cluster.ts';
import { contextOf } from './context.ts';
import { TestbedError } from './errors.ts';
import { Journal } from './journal.ts';
import { imagesOf, loadedImages } from './loaded-images.ts';
import { makeInternet } from './network.ts';
import type { NodeTools } from './node.ts';
import { ensurePackages } from './packages.ts';
import { planTestbed, type ClusterShape } from './plan-addresses.ts';
import { removeTestbed } from './remove.ts';
import type { Report } from './report.ts';
import {
  checkStateFileSystem,
  makeStateFolder,
  readState,
  testbedNames,
  writeState,
  type TestbedState,
} from './state.ts';
import { ensureTool, needsBuild, requireGo } from './tools.ts';

const isShapeOf = (state: TestbedState, shape: readonly ClusterShape[]): boolean =>
  JSON.stringify(state.plan.clusters.map(({ name, nodes }) => [name, nodes.length])) ===
  JSON.stringify(shape.map(({ name, nodes }) => [name, nodes]));

const describe = (state: TestbedState): string =>
  state.plan.clusters.map(({ name, nodes }) => `${name}=${nodes.length}`).join(',');

/** Refuses, before anything is made, what can't work on this host. */
export const checkHost = async (report: Report): Promise<void> => {
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

/** Makes the testbed, or makes it whole again; the caller holds its lock. */
export const makeTestbed = async (
  name: string,
  shape: readonly ClusterShape[],
  storage: boolean,
  step: Report,
): Promise<void> => {
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
};
