import { ensureImage, IMAGE_NAMES, STORAGE_IMAGE_NAMES } from './images/images.ts';
import { ensurePackages } from './testbed/packages.ts';
import { ensureRestic } from './testbed/restic.ts';
import { ensureTool } from './testbed/tools.ts';

/**
 * Makes this machine ready for every test: Debian packages, Kubernetes and its node's tools, wireguard-go, restic, an S3 server, PostgreSQL, test images. Done
 * once and cached; here, so that no test's time limit holds a build.
 */
export const setUpMachine = async (): Promise<void> => {
  const report = (line: string): void => void process.stdout.write(`set-up: ${line}\n`);
  await ensurePackages(['run', 'buildImages', 'buildFluvia', 'storage'], report);
  for (const tool of ['kube', 'containerd', 'runc', 'cni', 'coredns', 'wireguard', 'versitygw'] as const) {
    await ensureTool(tool, report);
  }
  await ensureRestic(report);
  for (const image of [...IMAGE_NAMES, ...STORAGE_IMAGE_NAMES, 'postgresql'] as const) {
    await ensureImage(image, report);
  }
};
