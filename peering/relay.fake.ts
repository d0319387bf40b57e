import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP relay that can break connections as networks do. */
export interface Relay {
  readonly endpoint: string;
  /** Resets every connection; new ones work. */
  cut(): void;
  /** Lets nothing through and closes nothing: what a partition looks like. */
  stall(): void;
  /** Ends a stall; what stalled is lost, as behind a NAT that has forgotten. */
  heal(): void;
  readonly accepted: number;
  close(): Promise<void>;
}

/** Starts a relay on loopback towards `host:port`. */
export const startRelay = async (target: string): Promise<Relay> => {
  const sockets = new Set<Socket>();
  let stalled = false;
  let accepted = 0;
  const server = createServer((near) => {
    accepted += 1;
    const [host = '', port = ''] = target.split(':');
    const far = stalled ? undefined : connect({ host, port: Number(port) });
    for (const socket of [near, far]) {
      if (socket === undefined) continue;
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        near.destroy();
        far?.destroy();
      });
    }
    const pass = (to: Socket) => (chunk: Buffer) => {
      if (!stalled) to.write(chunk);
    };
    if (far !== undefined) {
      near.on('data', pass(far));
      far.on('data', pass(near));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    stall: () => (stalled = true),
    heal: () => {
      stalled = false;
      cut();
    },
    get accepted() {
      return accepted;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
};
