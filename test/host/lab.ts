/**
 * Nodes of several clusters as network namespaces of this machine, with the tools of this machine.
 *
 *     pod ── cni0 ─ [node a1] ─ eth0 ┐
 *     pod ── cni0 ─ [node b1] ─ eth0 ┼─ br0 [underlay]   198.18.250.0/24
 *     pod ── cni0 ─ [node b2] ─ eth0 ┤
 *     pod ── cni0 ─ [node c1] ─ eth0 ┘
 *
 * Every node masquerades as flannel does and has strict reverse-path filters.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execTool, type Exec } from '../../runtime/host/exec.ts';
import type { Sysctl } from '../../runtime/host/sysctl.ts';

export interface LabNode {
  readonly name: string;
  readonly address: string;
  readonly podRange: string;
  /** Runs a tool in the node's network and mount namespace. */
  readonly exec: Exec;
  readonly sysctl: Sysctl;
  /** Directory that is /var/run/wireguard in the node. */
  readonly wireguardDir: string;
  /** Arguments of nsenter that enter it. */
  readonly enter: readonly string[];
}

export interface LabPod {
  readonly node: LabNode;
  readonly address: string;
  readonly exec: Exec;
  readonly port: number;
}

export interface Lab {
  node(name: string, index: number, podSubnet: number): Promise<LabNode>;
  /** A pod with an HTTP server that answers with the client's address. */
  pod(node: LabNode, host: number): Promise<LabPod>;
  /** Routes between the nodes of a cluster, as a CNI with host routes makes them. */
  connect(nodes: readonly LabNode[]): Promise<void>;
  /** Starts the container of wireguard-go of a node; returns how to end it. */
  wireguardContainer(node: LabNode, binary: string): () => Promise<void>;
  close(): Promise<void>;
}

const SERVER = `require('http').createServer((q, s) => s.end(q.socket.remoteAddress)).listen(8080, '0.0.0.0')`;

const ended = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once('exit', () => resolve()));

const stop = async (child: ChildProcess): Promise<void> => {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  await ended(child);
  clearTimeout(timer);
};

const until = async (what: string, isDone: () => Promise<boolean>): Promise<void> => {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await isDone().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what}: not within 10 s`);
};

/** createLab makes the underlay. Needs root. */
export const createLab = async (): Promise<Lab> => {
  const prefix = `fl${process.pid}`;
  const directory = mkdtempSync(join(tmpdir(), 'fluvia-lab-'));
  const namespaces: string[] = [];
  const children: ChildProcess[] = [];

  const addNamespace = async (name: string): Promise<string> => {
    const namespace = `${prefix}-${name}`;
    await execTool('ip', ['netns', 'add', namespace]);
    namespaces.push(namespace);
    await execTool('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
    return namespace;
  };

  const underlay = await addNamespace('inet');
  await execTool('ip', ['-n', underlay, 'link', 'add', 'br0', 'type', 'bridge']);
  await execTool('ip', ['-n', underlay, 'link', 'set', 'br0', 'up']);

  /** Keeps a mount namespace with a /run of its own, so that wireguard-go's sockets don't meet. */
  const hold = (namespace: string, wireguardDir: string): ChildProcess => {
    const script = `mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/wireguard && mount --bind "$1" /run/wireguard && exec sleep 100000`;
    const child = spawn(
      'nsenter',
      [`--net=/run/netns/${namespace}`, 'unshare', '--mount', 'sh', '-c', script, 'sh', wireguardDir],
      { stdio: 'ignore' },
    );
    children.push(child);
    return child;
  };

  const batch = (namespace: string, lines: readonly string[]): Promise<string> =>
    execTool('ip', ['-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` });

  const lab: Lab = {
    node: async (name, index, podSubnet) => {
      const namespace = await addNamespace(name);
      const wireguardDir = join(directory, name);
      mkdirSync(wireguardDir);
      const address = `198.18.250.${index}`;
      const podRange = `10.244.${podSubnet}.0/24`;
      await batch(underlay, [
        `link add ${name} type veth peer name eth0 netns ${namespace}`,
        `link set ${name} master br0 up`,
      ]);
      await batch(namespace, [
        `addr add ${address}/24 dev eth0`,
        'link set eth0 up',
        'link add cni0 type bridge',
        `addr add 10.244.${podSubnet}.1/24 dev cni0`,
        'link set cni0 up',
      ]);
      const holder = hold(namespace, wireguardDir);
      const enter = ['--net', '--mount', `--target=${holder.pid}`];
      const exec: Exec = (command, args, options) =>
        execTool('nsenter', [...enter, command, ...args], options);
      await until(`mounts of ${name}`, async () => {
        await exec('test', ['-d', '/run/wireguard']);
        return (
          (await exec('stat', ['-f', '-c', '%T', '/run'])).trim() === 'tmpfs' && holder.exitCode === null
        );
      });
      await exec('sysctl', [
        '-qw',
        'net.ipv4.ip_forward=1',
        'net.ipv4.conf.all.rp_filter=1',
        'net.ipv4.conf.default.rp_filter=1',
        'net.ipv4.conf.eth0.rp_filter=1',
      ]);
      await exec('nft', ['-f', '-'], {
        input: `table ip cni { chain post { type nat hook postrouting priority 100;
          ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 return
          ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade
          ip saddr != 10.244.0.0/16 ip daddr ${podRange} return
          ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade
        }\n}\n`,
      });
      const path = (key: string): string => `/proc/sys/net/${key}`;
      const sysctl: Sysctl = {
        read: async (key) => (await exec('cat', [path(key)]).catch(() => undefined))?.trim(),
        write: async (key, value) => {
          await exec('tee', [path(key)], { input: value });
        },
      };
      return { name, address, podRange, exec, sysctl, wireguardDir, enter };
    },
    pod: async (node, host) => {
      const name = `${node.name}-p${host}`;
      const namespace = await addNamespace(name);
      const address = node.podRange.replace('.0/24', `.${host}`);
      const gateway = node.podRange.replace('.0/24', '.1');
      await batch(`${prefix}-${node.name}`, [
        `link add v${host} type veth peer name eth0 netns ${namespace}`,
        `link set v${host} master cni0 up`,
      ]);
      await batch(namespace, [
        `addr add ${address}/24 dev eth0`,
        'link set eth0 up',
        `route add default via ${gateway}`,
      ]);
      const enter = [`--net=/run/netns/${namespace}`];
      const exec: Exec = (command, args, options) =>
        execTool('nsenter', [...enter, command, ...args], options);
      children.push(spawn('nsenter', [...enter, process.execPath, '-e', SERVER], { stdio: 'ignore' }));
      await until(`server of ${name}`, async () => (await exec('ss', ['-ltnH'])).includes(':8080'));
      return { node, address, exec, port: 8080 };
    },
    connect: async (nodes) => {
      for (const node of nodes) {
        const others = nodes.filter((other) => other !== node);
        await batch(
          `${prefix}-${node.name}`,
          others.map((other) => `route add ${other.podRange} via ${other.address}`),
        );
      }
    },
    wireguardContainer: (node, binary) => {
      const bin = join(directory, 'bin');
      mkdirSync(bin, { recursive: true });
      rmSync(join(bin, 'wireguard-go'), { force: true });
      symlinkSync(binary, join(bin, 'wireguard-go'));
      const script = join(import.meta.dirname, '../../network-fabric/agent/wireguard-go.sh');
      const holder = children.find((child) => child.spawnargs.includes(node.wireguardDir));
      const child = spawn('nsenter', ['--net', '--mount', `--target=${holder?.pid}`, 'sh', script], {
        stdio: 'ignore',
        env: { PATH: `${bin}:${process.env['PATH']}` },
      });
      children.push(child);
      return () => stop(child);
    },
    close: async () => {
      await Promise.all(children.toReversed().map(stop));
      for (const namespace of namespaces.toReversed()) {
        await execTool('ip', ['netns', 'delete', namespace]).catch(() => undefined);
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return lab;
};

/** request sends HTTP requests from a pod one after the other and gives the answers' texts, `failed` for each that failed. */
export const request = async (
  from: Pick<LabPod, 'exec'>,
  address: string,
  options: { readonly count?: number; readonly port?: number; readonly timeoutMs?: number } = {},
): Promise<string[]> => {
  const { count = 1, port = 8080, timeoutMs = 10_000 } = options;
  const script = `(async () => { for (let i = 0; i < ${count}; i++) {
    console.log(await fetch('http://${address}:${port}/', {
      signal: AbortSignal.timeout(${timeoutMs}), headers: { connection: 'close' },
    }).then((r) => r.text()).catch(() => 'failed')) }
    process.exit(0) })()`;
  const output = await from.exec(process.execPath, ['-e', script], { timeoutMs: 60_000 });
  return output.trim().split('\n');
};
