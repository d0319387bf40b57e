/** The link between a mover and its store: a TCP relay that can be cut, or frozen as a network is that drops everything. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface LinkProxy {
  readonly port: number;
  /** Resets every connection and refuses new ones. */
  cut(): void;
  /** Lets nothing pass, and closes nothing. */
  freeze(): void;
  /** As before; what was frozen goes on. */
  heal(): void;
  stop(): Promise<void>;
}

/** Relays a free loopback port to `targetPort`, with back pressure. */
export const startLinkProxy = async (targetPort: number): Promise<LinkProxy> => {
  const pairs = new Set<readonly [Socket, Socket]>();
  let state: 'up' | 'cut' | 'frozen' = 'up';
  const stopReading = (socket: Socket): void => {
    socket.unpipe();
    socket.pause();
  };
  const listener = createServer((client) => {
    if (state === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const server = connect(targetPort, '127.0.0.1');
    const pair = [client, server] as const;
    pairs.add(pair);
    for (const [one, other] of [pair, pair.toReversed() as [Socket, Socket]]) {
      one.on('error', () => undefined);
      one.on('close', () => {
        pairs.delete(pair);
        other.destroy();
      });
      if (state === 'up') one.pipe(other);
    }
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const cut = (): void => {
    state = 'cut';
    for (const [client, server] of pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  };
  return {
    port: (listener.address() as AddressInfo).port,
    cut,
    freeze: () => {
      state = 'frozen';
      for (const pair of pairs) for (const socket of pair) stopReading(socket);
    },
    heal: () => {
      if (state === 'frozen') {
        for (const [client, server] of pairs) {
          client.pipe(server);
          server.pipe(client);
        }
      }
      state = 'up';
    },
    stop: async () => {
      cut();
      listener.close();
      await once(listener, 'close');
    },
  };
};
