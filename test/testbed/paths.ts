/** Where the testbed keeps things on the host. */
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this checkout. */
export const repositoryRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Finished binaries and images, shared by all checkouts of a user; every entry is named by its content's recipe. */
export const cacheRoot = (): string =>
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'fluvia');

/** One folder per testbed. */
export const testbedsRoot = (): string =>
  join(process.env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state'), 'fluvia', 'testbeds');

/** What all testbeds of the machine share, of whatever user: claims of address ranges, the counted sysctl. Not there when there is no testbed. */
export const machineRoot = '/run/fluvia';
