import { ensureFluviaImage } from '../../deploy/image/build.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { fluviactl, type RunOptions } from './fluviactl.ts';

/** Builds the Fluvia image of this checkout (cached) and loads it into every node; returns its reference. */
export const prepareFluvia = async (
  testbed: Testbed,
  clusters: readonly string[],
  report: (line: string) => void = () => undefined,
): Promise<string> => {
  const { reference, archive } = await ensureFluviaImage(report);
  await Promise.all(clusters.map((cluster) => testbed.load(cluster, archive)));
  return reference;
};

/** Installs Fluvia in a cluster as a user would, and waits until it is Ready. */
export const installFluvia = (
  testbed: Testbed,
  cluster: string,
  image: string,
  ...flags: readonly string[]
): Promise<string> => {
  const kubeconfig = ['--kubeconfig', testbed.kubeconfigPath(cluster)];
  return fluviactl([
    'install',
    ...kubeconfig,
    '--cluster-name',
    cluster,
    '--image',
    image,
    ...flags,
    '--wait',
  ]);
};

/** Peers two clusters by the one command that has both kubeconfigs. */
export const peerClusters = (
  testbed: Testbed,
  a: string,
  b: string,
  options?: RunOptions,
): Promise<string> => {
  const [one, other] = [testbed.kubeconfigPath(a), testbed.kubeconfigPath(b)];
  return fluviactl(['peer', '--kubeconfig', one, '--remote-kubeconfig', other], options);
};

/** Cordons or uncordons a peer's virtual node by its VirtualNode: Fluvia takes back what is written into the Node. */
export const cordonPeer = (
  testbed: Testbed,
  home: string,
  peer: string,
  cordoned: boolean,
): Promise<string> => {
  const patch = JSON.stringify({ spec: { cordoned } });
  return testbed.kubectl(home, ['patch', 'virtualnode', `fluvia-${peer}`, '--type=merge', '-p', patch]);
};
