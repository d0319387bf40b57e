import { createServer, type TLSSocket } from 'node:tls';
import type { AddressInfo, Socket } from 'node:net';
import type { Pin } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { peeringServices } from '../proto/load.ts';
import type { HelloRequest, HelloResponse } from '../proto/peering.ts';
import type { Logger } from '../runtime/log.ts';
import { toServiceError } from './grpc-errors.ts';
import { serveOnSocket } from './grpc-server.ts';
import type { Identity } from './identity.ts';
import { remoteKeyOf } from './keys.ts';
import type { JoinHandler } from './join-server.ts';
import type { LinkEnd } from './link-end.ts';
import { ALPN, LIMITS } from './protocol.ts';
import { tlsOptions } from './tls.ts';

/** Accepts peers' connections: checks the key first, then hands the socket to the link that it belongs to. */
export interface ListenerOptions {
  readonly identity: Identity;
  readonly port: number;
  /** Default: all addresses. */
  readonly host?: string;
  readonly log: Logger;
  readonly linkOf: (pin: Pin) => LinkEnd | undefined;
  readonly join: JoinHandler;
  /** Asks the API server, for a key that no link has: is there a Peer with it that isn't being deleted? */
  readonly isPeered: (pin: Pin) => Promise<boolean>;
}

export interface Listener {
  readonly port: number;
  close(): Promise<void>;
}

/** What a key without a link is told when it calls as a peer; it is how a peer learns that it was removed here. */
const strangerFabric = (pin: Pin, isPeered: (pin: Pin) => Promise<boolean>): object => ({
  Hello: (
    _call: { readonly request: HelloRequest },
    callback: (error: Error | null, response?: HelloResponse) => void,
  ): void => {
    isPeered(pin).then(
      (known) =>
        callback(
          toServiceError(
            known
              ? new FluviaError(
                  ERROR_CODES.LINK_DOWN,
                  'the peer isn’t ready for this peering yet, or has paused it',
                )
              : new FluviaError(ERROR_CODES.NOT_PEERED, 'the peer has ended the peering', {
                  kind: 'terminal',
                }),
          ),
        ),
      (error: unknown) => callback(toServiceError(error)),
    );
  },
});

/** Starts to listen; resolves once it does. */
export const startListener = (options: ListenerOptions): Promise<Listener> => {
  const { identity, log, linkOf, isPeered, join } = options;
  const sockets = new Set<Socket>();
  let strangers = 0;
  const { joining, fabric } = peeringServices();

  const acceptStranger = (socket: TLSSocket, definition: object, implementation: object): void => {
    if (strangers >= LIMITS.strangers) {
      socket.destroy();
      return;
    }
    strangers += 1;
    const timer = setTimeout(() => socket.destroy(), LIMITS.strangerMs);
    socket.once('close', () => {
      strangers -= 1;
      clearTimeout(timer);
    });
    serveOnSocket(socket, [{ definition, implementation }], {
      messageBytes: LIMITS.joinMessageBytes,
      streams: 4,
    });
  };

  const accept = (socket: TLSSocket): void => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 15_000);
    const remote = remoteKeyOf(socket);
    const link = linkOf(remote.pin);
    if (socket.alpnProtocol === ALPN.join) {
      acceptStranger(socket, joining, join(socket, remote));
    } else if (link !== undefined && socket.alpnProtocol === ALPN.call) {
      link.attachServer(socket);
    } else if (link !== undefined && socket.alpnProtocol === ALPN.serve) {
      void link.attachClient(socket);
    } else if (socket.alpnProtocol === ALPN.call) {
      acceptStranger(socket, fabric, strangerFabric(remote.pin, isPeered));
    } else {
      socket.destroy();
    }
  };

  const server = createServer(
    {
      ...tlsOptions(identity),
      requestCert: true,
      handshakeTimeout: LIMITS.handshakeMs,
      ALPNProtocols: Object.values(ALPN),
      // No session is ever resumed (remoteKeyOf refuses those), so none needs to be remembered.
      sessionTimeout: 1,
    },
    (socket) => {
      socket.on('error', () => {});
      try {
        accept(socket);
      } catch (err) {
        log.info('a connection was refused', { err });
        socket.destroy();
      }
    },
  );
  server.maxConnections = LIMITS.connections;
  /** Handshakes under way, by the client's address. */
  const pending = new Set<string>();
  const nameOf = (socket: Socket): string => `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0}`;
  server.on('connection', (socket: Socket) => {
    if (pending.size >= LIMITS.handshakes) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    pending.add(name);
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      pending.delete(name);
    });
  });
  server.on('secureConnection', (socket) => void pending.delete(nameOf(socket)));
  server.on('tlsClientError', (err) => log.debug('a TLS handshake failed', { err }));

  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(
      { port: options.port, ...(options.host === undefined ? {} : { host: options.host }) },
      () => {
        server.off('error', reject);
        server.on('error', (err) => log.error('the peering listener failed', { err }));
        resolve({
          port: (server.address() as AddressInfo).port,
          close: () =>
            new Promise((done) => {
              server.close(() => done());
              for (const socket of sockets) socket.destroy();
            }),
        });
      },
    );
  });
};
