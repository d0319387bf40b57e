/** TCP ports for servers that must be told theirs. */
import { once } from 'node:events';
import { createServer, type ListenOptions } from 'node:net';

/** Below the range of which the kernel gives clients theirs: no connection takes the port before its server does. */
const LOWEST = 20_000;
const COUNT = 12_000;
const TRIES = 50;

/** Whether one can listen there, and how to stop it; undefined when somebody does already. */
const listen = async (where: ListenOptions): Promise<{ stop(): Promise<void> } | undefined> => {
  const server = createServer();
  // Holds on until the process ends, but keeps no process from ending.
  server.unref();
  try {
    server.listen(where);
    await once(server, 'listening');
  } catch {
    return undefined;
  }
  const stop = async (): Promise<void> => {
    server.close();
    await once(server, 'close');
  };
  return { stop };
};

/**
 * A port that nobody listens at and that no other caller is given while this process lives, whichever process that is in:
 * its server may come later, or be killed and come back. It is held by an abstract Unix socket of its name (unix(7)), which
 * the kernel takes away with the process.
 */
export const freePort = async (): Promise<number> => {
  for (let left = TRIES; left > 0; left -= 1) {
    const port = LOWEST + Math.floor(Math.random() * COUNT);
    const claim = await listen({ path: `\0fluvia-port-${port}` });
    if (claim === undefined) continue;
    const probe = await listen({ port });
    if (probe !== undefined) {
      await probe.stop();
      return port;
    }
    await claim.stop();
  }
  throw new Error(`no free port of ${LOWEST}–${LOWEST + COUNT} in ${TRIES} tries`);
};
