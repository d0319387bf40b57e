import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import type { ControllerDeps } from '../../runtime/deps.ts';
import type { Links } from '../../api/link.ts';
import { CONFIG_MAP } from '../../runtime/kube/resources.ts';
import type { ConfigMap } from '../../runtime/kube/types.ts';
import { makeSelfSigned } from '../../runtime/certificate.ts';
import type { Home } from '../consumer/home.ts';
import { createKubeletAuth } from './kubelet-auth.ts';
import { createKubeletHandler } from './kubelet-server.ts';

/** The HTTPS servers of the virtual kubelets, one port for each virtual node. */
export interface KubeletServers {
  /** Listens for the node; does nothing when it does already. Rejects when the port is taken. */
  listen(node: string, port: number): Promise<void>;
  /** Stops listening and cuts the node's connections. */
  close(node: string): void;
  /** Ports in use now. */
  ports(): readonly number[];
}

interface Running {
  readonly port: number;
  readonly server: Server;
  readonly connections: Set<Duplex>;
}

const CA_CONFIG_MAP = 'extension-apiserver-authentication';
const CA_FIELD = 'client-ca-file';
const HEADERS_TIMEOUT_MS = 10_000;

/** Makes the servers' common parts: certificate for the pod's address, client CA, authorisation. */
export const createKubeletServers = async (
  deps: ControllerDeps,
  home: Home,
  links: Links,
  signal: AbortSignal,
): Promise<KubeletServers> => {
  const serving = await makeSelfSigned({
    commonName: deps.podName,
    addresses: [deps.podIP],
    now: deps.clock.now(),
  });
  const cas = deps.informers.for<ConfigMap>(CONFIG_MAP, {
    namespace: 'kube-system',
    fieldSelector: `metadata.name=${CA_CONFIG_MAP}`,
  });
  const running = new Map<string, Running>();
  const auth = createKubeletAuth(deps.client, deps.clock);
  const context = () => {
    const ca = cas.get('kube-system', CA_CONFIG_MAP)?.data?.[CA_FIELD];
    // Without a CA nobody is trusted by certificate: an empty list, since leaving it out would mean the public ones.
    return { ...serving, ca: ca === undefined || ca === '' ? [] : [ca], minVersion: 'TLSv1.2' as const };
  };
  cas.onChange(() => {
    for (const { server } of running.values()) server.setSecureContext(context());
  });

  const close = (node: string): void => {
    const entry = running.get(node);
    running.delete(node);
    entry?.server.close();
    for (const connection of entry?.connections ?? []) connection.destroy();
  };

  const listen = async (node: string, port: number): Promise<void> => {
    if (running.get(node)?.port === port) return;
    close(node);
    const handler = createKubeletHandler({ home, links, auth, log: deps.log }, node);
    const server = createServer({
      ...context(),
      requestCert: true,
      // Judged by the handler, so that a stranger gets 401 and a token can be used instead.
      rejectUnauthorized: false,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: 0,
    });
    server.maxConnections = 1024;
    const connections = new Set<Duplex>();
    server.on('secureConnection', (socket) => {
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
    });
    server.on('request', (request, response) => {
      handler.handle(request, response).catch((err: unknown) => {
        deps.log.warn('kubelet request failed', { controller: 'offloading.kubelet', key: node, err });
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
    server.on('upgrade', (request, socket, head) => {
      handler.upgrade(request, socket, head).catch((err: unknown) => {
        deps.log.warn('kubelet upgrade failed', { controller: 'offloading.kubelet', key: node, err });
        socket.destroy();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, resolve);
    });
    server.on('error', (err) => deps.log.error('kubelet server failed', { key: node, err }));
    running.set(node, { port, server, connections });
  };

  signal.addEventListener('abort', () => {
    for (const node of running.keys()) close(node);
  });
  return { listen, close, ports: () => [...running.values()].map((entry) => entry.port) };
};
