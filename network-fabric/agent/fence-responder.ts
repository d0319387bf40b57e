/**
 * Where an agent says whether a pod may start: plain HTTP on the node's address, without credentials. nftables lets only
 * this cluster's pods and nodes to it (`plan-nft.ts`), and what it tells is no secret: `GET /lease/<cluster>/<pod UID>` is
 * 200 or 403, `GET /leases` is what is left of each lease, for a new leader of this cluster.
 */
import { createServer, type Server } from 'node:http';
import type { NodeFence } from './fence.ts';

const LEASE = /^\/lease\/([a-z0-9]{1,26})\/([A-Za-z0-9._-]{1,64})$/;

/** A responder that can be moved to another address. */
export interface FenceResponder {
  /** Listens at the address; undefined: nowhere. Does nothing when it does so already. */
  serve(address: string | undefined): void;
  /** The port in use; 0 while it doesn't listen. */
  port(): number;
  close(): void;
}

/** createFenceResponder answers by `fence`; `onError` hears why it can't listen, and `serve` tries again. */
export const createFenceResponder = (
  fence: Pick<NodeFence, 'isLeased' | 'left'>,
  port: number,
  onError: (error: Error) => void,
): FenceResponder => {
  let server: Server | undefined;
  let current: string | undefined;
  const close = (): void => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
    current = undefined;
  };
  const listen = (address: string): void => {
    const next = createServer(
      { maxHeaderSize: 4096, requestTimeout: 5000, headersTimeout: 5000 },
      (request, response) => {
        const found = LEASE.exec(request.url ?? '');
        if (request.method !== 'GET') response.writeHead(405).end();
        else if (found !== null)
          response
            .writeHead(fence.isLeased(found[1] ?? '', found[2] ?? '') ? 200 : 403, { connection: 'close' })
            .end();
        else if (request.url === '/leases')
          response
            .writeHead(200, { 'content-type': 'application/json', connection: 'close' })
            .end(JSON.stringify(fence.left()));
        else response.writeHead(404, { connection: 'close' }).end();
      },
    );
    next.maxConnections = 512;
    next.on('error', (error) => {
      if (server === next) close();
      onError(error);
    });
    server = next;
    current = address;
    next.listen(port, address);
    next.unref();
  };
  return {
    serve: (address) => {
      if (address === current) return;
      close();
      if (address !== undefined) listen(address);
    },
    port: () => {
      const address = server?.address();
      return typeof address === 'object' && address !== null ? address.port : 0;
    },
    close,
  };
};
