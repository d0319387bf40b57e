/** Counts TCP connections as the API server's side of the machine has them. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const ESTABLISHED = '01';

const socketInodes = (pid: number): Set<string> =>
  new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
        return inode === undefined ? [] : [inode];
      } catch {
        return [];
      }
    }),
  );

const rows = (): readonly (readonly string[])[] =>
  readFileSync('/proc/net/tcp', 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));

const portOf = (address: string | undefined): number => Number.parseInt(address?.split(':')[1] ?? '', 16);

/** serverConnections counts established connections to `port` whose client end belongs to `pid`, at the server's end. */
export const serverConnections = (port: number, pid: number): number => {
  const own = socketInodes(pid);
  const all = rows().filter((row) => row[3] === ESTABLISHED);
  const clientPorts = new Set(
    all.filter((row) => portOf(row[2]) === port && own.has(row[9] ?? '')).map((row) => portOf(row[1])),
  );
  return all.filter((row) => portOf(row[1]) === port && clientPorts.has(portOf(row[2]))).length;
};
