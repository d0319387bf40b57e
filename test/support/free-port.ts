/** TCP ports for servers that must be told theirs. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the range of which the kernel gives clients theirs: no connection takes the port before its server does. */
const LOWEST = 20_000;
const COUNT = 12_000;
const TRIES = 50;

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer();
  try {
    server.listen(port);
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
};

/** A port that nobody listens at; random, so that test files that run at the same time don't meet. */
export const freePort = async (): Promise<number> => {
  for (let left = TRIES; left > 0; left -= 1) {
    const port = LOWEST + Math.floor(Math.random() * COUNT);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port of ${LOWEST}–${LOWEST + COUNT} in ${TRIES} tries`);
};
