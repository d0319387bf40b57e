/** A TCP relay before an API server, to break connections in the ways that networks do. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Connections accepted so far, in order. */
  readonly accepted: number;
  /** Open connections. */
  readonly open: number;
  /** Resets all connections and refuses new ones. */
  cut(): void;
  /** Lets the bytes of one connection (by order of acceptance) vanish, both ways, without closing it. */
  stall(index: number): void;
  heal(): void;
  stop(): Promise<void>;
}

/** startTcpProxy relays a free loopback port to `targetPort`. */
export const startTcpProxy = async (targetPort: number): Promise<TcpProxy> => {
  const pairs: { readonly client: Socket; readonly server: Socket; stalled: boolean }[] = [];
  let refusing = false;
  const listener = createServer((client) => {
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    const server = connect(targetPort, '127.0.0.1');
    const pair = { client, server, stalled: false };
    pairs.push(pair);
    client.on('data', (bytes) => void (pair.stalled || server.write(bytes)));
    server.on('data', (bytes) => void (pair.stalled || client.write(bytes)));
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const cut = (): void => {
    refusing = true;
    for (const { client, server } of pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  };
  return {
    port: address.port,
    get accepted() {
      return pairs.length;
    },
    get open() {
      return pairs.filter(({ client }) => !client.destroyed).length;
    },
    cut,
    stall: (index) => {
      const pair = pairs[index];
      if (!pair) throw new Error(`there is no connection ${index}`);
      pair.stalled = true;
    },
    heal: () => {
      refusing = false;
    },
    stop: async () => {
      cut();
      listener.close();
      await once(listener, 'close');
    },
  };
};
