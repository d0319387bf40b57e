/** The root of the Fluvia image, from this checkout and the host's programs: no distribution, no package manager. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { programPath, stageProgram, stampOf } from '../../test/images/stage.ts';
import { run, tryRun } from '../../test/testbed/exec.ts';
import { findProgram } from '../../test/testbed/packages.ts';
import { ensureRestic } from '../../test/testbed/restic.ts';
import { ensureTool } from '../../test/testbed/tools.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Programs of the host that agent and mover run; `bridge` is iproute2's, which knows a VXLAN's forwarding table. */
const HOST_TOOLS = ['wg', 'nft', 'ip', 'bridge', 'conntrack', 'btrfs'] as const;

/** What the supervisor script and a person at `kubectl exec` need; the real tools win over busybox's. */
const APPLETS = [
  'cat',
  'cp',
  'date',
  'df',
  'env',
  'false',
  'free',
  'grep',
  'head',
  'hostname',
  'id',
  'kill',
  'ls',
  'mkdir',
  'mv',
  'nc',
  'netstat',
  'nslookup',
  'ping',
  'ps',
  'rm',
  'sed',
  'sleep',
  'sort',
  'tail',
  'test',
  'top',
  'true',
  'uname',
  'vi',
  'wc',
  'wget',
] as const;

/** Node as npm brought it, whatever Node the host has. */
const nodePath = (): string => realpathSync(join(ROOT, 'node_modules/.bin/node'));

/** What the staged bytes depend on beside the bundles, as text; reads no program. */
export const stageInputs = async (): Promise<readonly string[]> => [
  ...[...HOST_TOOLS, 'dash', 'busybox'].map((name) => stampOf(programPath(name))),
  (await ensureTool('wireguard')).dir,
  stampOf(await ensureRestic()),
  `node ${process.version} ${findProgram('strip') === undefined ? 'whole' : 'stripped'}`,
];

const stageNode = async (root: string): Promise<void> => {
  const node = nodePath();
  await stageProgram(root, node, 'bin', 'node');
  // 150 MB with symbols, 116 without; a host without binutils gets the larger image
  if (findProgram('strip') !== undefined) {
    await run('strip', ['--strip-unneeded', join(root, 'bin/node')]);
  }
  await run(join(root, 'bin/node'), ['--version']);
};

const stageUsers = (root: string): void => {
  for (const folder of ['etc', 'tmp', 'run/fluvia', 'var/run/wireguard', 'host/proc/sys/net', 'root']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nfluvia:x:65532:65532:fluvia:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nfluvia:x:65532:\nnogroup:x:65534:\n');
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n');
};

/** Fills `root`, an empty folder, with everything that the image holds; `bundles` is what `bundle` wrote. */
export const stageRoot = async (root: string, bundles: string): Promise<void> => {
  stageUsers(root);
  await stageNode(root);
  for (const tool of HOST_TOOLS) {
    await stageProgram(root, programPath(tool));
  }
  await stageProgram(root, programPath('dash'), 'bin', 'sh');
  await stageProgram(root, programPath('busybox'));
  const offered = (await tryRun(programPath('busybox'), ['--list'])).stdout.split('\n');
  for (const applet of APPLETS.filter((name) => offered.includes(name))) {
    symlinkSync('busybox', join(root, 'bin', applet));
  }
  const wireguard = await ensureTool('wireguard');
  await stageProgram(root, wireguard.files['wireguard-go'] ?? '', 'bin', 'wireguard-go');
  // the movers'
  await stageProgram(root, await ensureRestic(), 'bin', 'restic');
  const folder = join(root, 'opt/fluvia');
  cpSync(bundles, folder, { recursive: true });
  // copied with the mode of a temporary folder; the controller isn't root
  chmodSync(folder, 0o755);
  copyFileSync(join(ROOT, 'network-fabric/agent/wireguard-go.sh'), join(folder, 'wireguard-go.sh'));
  copyFileSync(join(ROOT, 'deploy/image/fluviad.sh'), join(root, 'bin/fluviad'));
  chmodSync(join(root, 'bin/fluviad'), 0o755);
  copyFileSync(join(ROOT, 'LICENSE'), join(folder, 'LICENSE'));
};
