/** Kernel settings below `/proc/sys/net`, through a mount of it that may be written. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Sysctl {
  /** The value of e.g. `ipv4/ip_forward`, or undefined when there is none. */
  read(key: string): Promise<string | undefined>;
  write(key: string, value: string): Promise<void>;
}

/** createSysctl makes the adapter; `root` is where the host's `/proc/sys/net` is mounted. */
export const createSysctl = (root = '/proc/sys/net'): Sysctl => ({
  read: async (key) => {
    try {
      return (await readFile(join(root, key), 'utf8')).trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  write: (key, value) => writeFile(join(root, key), `${value}\n`),
});
