import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { NODE, POD } from '../../runtime/kube/resources.ts';
import { waitUntil } from '../testbed/processes.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { serverConnections } from './connections.ts';

/** A stand-in for a kubelet: the API server connects to it for logs and exec. */
interface Kubelet {
  readonly server: Server;
  readonly asked: string[];
  /** Sends one more line to all who follow logs. */
  readonly log: (line: string) => void;
  readonly followers: () => number;
}

const startKubelet = async (folder: string): Promise<Kubelet> => {
  const asked: string[] = [];
  const followers = new Set<(line: string) => void>();
  const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const server = createServer(
    { cert: pem('kubelet-test-1.crt'), key: pem('kubelet-test-1.key'), ca: pem('ca.crt'), requestCert: true },
    (request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write('first line\n');
      const follow = (line: string): void => void response.write(`${line}\n`);
      followers.add(follow);
      response.on('close', () => followers.delete(follow));
    },
  );
  server.on('upgrade', (request, socket) => {
    asked.push(`${request.method} ${request.url} ${String(request.headers['x-stream-protocol-version'])}`);
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\n\r\n',
    );
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    asked,
    log: (line) => {
      for (const follow of followers) follow(line);
    },
    followers: () => followers.size,
  };
};

let server: TestApiServer;
let client: KubeClient;
let kubelet: Kubelet;
beforeAll(async () => {
  server = await startApiServer();
  client = createKubeClient(server.access);
  kubelet = await startKubelet(server.folder);
  const address = kubelet.server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  await client.create(NODE, {
    metadata: { name: 'test-1' },
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: address.port } },
    },
  });
  await client.create(POD, {
    metadata: { name: 'p', namespace: 'default' },
    spec: { nodeName: 'test-1', containers: [{ name: 'c', image: 'x' }] },
  });
});
afterAll(async () => {
  kubelet?.server.closeAllConnections();
  kubelet?.server.close();
  await client?.close();
  await server?.stop();
});

const pod = '/api/v1/namespaces/default/pods/p';

describe('byte streams through a real API server', () => {
  it('follows a log line by line, and closes it at once when aborted', async () => {
    const abort = new AbortController();
    const before = serverConnections(server.port, process.pid);
    const { status, body } = await client.raw('GET', `${pod}/log?follow=true`, { signal: abort.signal });
    expect(status).toBe(200);
    const chunks = body[Symbol.asyncIterator]();
    expect(String((await chunks.next()).value)).toBe('first line\n');
    kubelet.log('second line');
    expect(String((await chunks.next()).value)).toBe('second line\n');
    expect(kubelet.asked).toContain('GET /containerLogs/default/p/c?follow=true');
    expect(serverConnections(server.port, process.pid) - before).toBe(1);
    const next = chunks.next();
    abort.abort(new Error('enough'));
    await expect(next).rejects.toThrow('aborted');
    expect(await waitUntil(() => kubelet.followers() === 0, 5000)).toBe(true);
    expect(serverConnections(server.port, process.pid)).toBe(before);
  });

  it('passes an upgraded connection through, byte for byte, with the caller headers', async () => {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'SPDY/3.1',
      'x-stream-protocol-version': 'v5.channel.k8s.io',
    };
    const path = `${pod}/exec?command=sh&stdin=true&stdout=true&container=c`;
    const upgraded = await client.upgrade('POST', path, headers);
    expect(upgraded.status).toBe(101);
    expect(upgraded.headers['x-stream-protocol-version']).toBe('v5.channel.k8s.io');
    const sent = Buffer.alloc(300_000, 'abc');
    const received: Buffer[] = [upgraded.head];
    const complete = new Promise<void>((resolve) => {
      upgraded.socket.on('data', (bytes: Buffer) => {
        received.push(bytes);
        if (received.reduce((sum, part) => sum + part.length, 0) >= sent.length) resolve();
      });
    });
    upgraded.socket.write(sent);
    await complete;
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    expect(kubelet.asked.at(-1)).toContain('POST /exec/default/p/c?command=sh');
    expect(kubelet.asked.at(-1)).toContain('v5.channel.k8s.io');
    upgraded.socket.destroy();
  });

  it('an impersonated user needs the right to exec itself', async () => {
    const peer = client.asUser({
      user: 'system:serviceaccount:fluvia-peers:abc',
      groups: ['system:authenticated'],
    });
    const attempt = peer.upgrade('POST', `${pod}/exec?command=sh&stdout=true`, {
      connection: 'Upgrade',
      upgrade: 'SPDY/3.1',
    });
    await expect(attempt).rejects.toMatchObject({ status: 403, reason: 'Forbidden' });
  });
});
