/** Scheduler and controller-manager for {@link startApiServer}, so that pods of Deployments are made and bound. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { ensureTool } from '../testbed/tools.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';

/** A control plane without nodes: what isn't bound to a Fluvia node stays Pending. */
export const startControlPlane = async (extraFlags: readonly string[] = []): Promise<TestApiServer> => {
  const server = await startApiServer(extraFlags);
  const { files } = await ensureTool('kube', (line) => console.log(line));
  const run = (name: string, args: readonly string[]): ChildProcess => {
    const log = createWriteStream(join(server.folder, `${name}.log`), { flags: 'a' });
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', files[name] ?? '', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    return child;
  };
  const common = [`--kubeconfig=${server.kubeconfig}`, '--leader-elect=false', '--secure-port=0'];
  const children = [
    run('kube-scheduler', common),
    run('kube-controller-manager', [
      ...common,
      `--service-account-private-key-file=${server.folder}/sa.key`,
      `--root-ca-file=${server.folder}/ca.crt`,
      '--allocate-node-cidrs=false',
      // The test's home node has no kubelet that would renew its Lease.
      '--node-monitor-grace-period=1h',
    ]),
  ];
  return {
    ...server,
    stop: async () => {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
      await server.stop();
    },
  };
};
