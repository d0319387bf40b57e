/**
 * Where an agent says whether a pod may start: plain HTTP on the node's address, without credentials. nftables lets only
 * this cluster's pods and nodes to it (`plan-nft.ts`), and some of those pods are a peer's. So what is told is about pods that
 * the caller can name by their UIDs: `GET /lease/<cluster>/<pod UID>` is 200 or 403; `POST /leases` with `{cluster: [UID]}`
 * is what is left of each of those leases, for a new leader of this cluster. Nothing lists what others run.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { NodeFence } from './fence.ts';

const LEASE = /^\/lease\/([a-z0-9]{1,26})\/([A-Za-z0-9._-]{1,64})$/;
const MAX_CONNECTIONS = 512;
/** Who waits asks once in 300 ms and closes: nobody needs more, and nobody keeps others off by holding them open. */
const MAX_PER_ADDRESS = 16;
const HEADERS_MS = 2000;
const REQUEST_MS = 5000;
/** The UIDs of 25,000 pods. */
const MAX_BODY = 2 ** 20;

type Asked = Readonly<Record<string, readonly string[]>>;
type Left = ReturnType<NodeFence['left']>;

/** A responder that can be moved to another address. */
export interface FenceResponder {
  /** Listens at the address; undefined: nowhere. Does nothing when it does so already. */
  serve(address: string | undefined): void;
  /** The port in use; 0 while it doesn't listen. */
  port(): number;
  close(): void;
}

/** Lets so many connections of one address in, and ends any further one. */
const limitByAddress = (server: Server, most: number): void => {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (open.get(address) ?? 0) + 1;
    if (count > most) {
      socket.destroy();
      return;
    }
    open.set(address, count);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
  });
};

const readAsked = async (request: IncomingMessage): Promise<Asked | undefined> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY) return undefined;
    chunks.push(chunk as Buffer);
  }
  let asked: unknown;
  try {
    asked = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
  const isAsked =
    typeof asked === 'object' &&
    asked !== null &&
    Object.values(asked).every((uids) => Array.isArray(uids) && uids.every((uid) => typeof uid === 'string'));
  return isAsked ? (asked as Asked) : undefined;
};

/** Of what is left, what was asked for by name. */
const pick = (left: Left, asked: Asked): Left =>
  Object.fromEntries(
    Object.entries(left).flatMap(([cluster, pods]) => {
      const uids = new Set(Object.hasOwn(asked, cluster) ? asked[cluster] : []);
      const found = Object.entries(pods).filter(([uid]) => uids.has(uid));
      return found.length === 0 ? [] : [[cluster, Object.fromEntries(found)]];
    }),
  );

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
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const end = (status: number, body?: unknown): void => {
      const type = body === undefined ? {} : { 'content-type': 'application/json' };
      response.writeHead(status, { connection: 'close', ...type });
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    const found = LEASE.exec(request.url ?? '');
    if (found !== null) {
      if (request.method !== 'GET') end(405);
      else end(fence.isLeased(found[1] ?? '', found[2] ?? '') ? 200 : 403);
      return;
    }
    if (request.url !== '/leases') {
      end(404);
      return;
    }
    if (request.method !== 'POST') {
      end(405);
      return;
    }
    const asked = await readAsked(request);
    if (asked === undefined) end(400);
    else end(200, pick(fence.left(), asked));
  };
  const listen = (address: string): void => {
    const next = createServer(
      {
        maxHeaderSize: 4096,
        headersTimeout: HEADERS_MS,
        requestTimeout: REQUEST_MS,
        // Node's own is half a minute: until then nobody would notice that a time is over
        connectionsCheckingInterval: 500,
      },
      (request, response) => {
        // who leaves in the middle needs no answer
        answer(request, response).catch(() => response.destroy());
      },
    );
    next.maxConnections = MAX_CONNECTIONS;
    limitByAddress(next, MAX_PER_ADDRESS);
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
