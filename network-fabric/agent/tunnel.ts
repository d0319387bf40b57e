/**
 * Makes and removes the WireGuard device: the kernel's where it has one, else wireguard-go's, which runs in a container
 * of its own and is asked for by a file in the directory that both share.
 */
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import { HostToolError, type Exec } from '../../runtime/host/exec.ts';
import type { Wg } from '../../runtime/host/wg.ts';
import { TUNNEL_DEVICE } from '../names.ts';

export interface Tunnel {
  /** Makes the device if it isn't there and gives it a key; resolves when it can be configured. */
  start(): Promise<void>;
  /** Removes device and key. */
  stop(): Promise<void>;
  /** Whether wireguard-go is asked for. */
  isWanted(): Promise<boolean>;
}

export interface TunnelOptions {
  readonly exec: Exec;
  readonly wg: Wg;
  readonly clock: Clock;
  /** Directory shared with the container of wireguard-go. */
  readonly directory: string;
  /** Never tries the kernel's: for tests. */
  readonly forceUserspace?: boolean | undefined;
  /** How long the device may take to come or go. */
  readonly waitMs?: number | undefined;
}

const exists = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** createTunnel makes the adapter. */
export const createTunnel = (options: TunnelOptions): Tunnel => {
  const { exec, wg, clock, directory, forceUserspace = false, waitMs = 8_000 } = options;
  const wantedFile = join(directory, 'wanted');
  const keyFile = join(directory, 'private.key');

  const hasLink = async (): Promise<boolean> => {
    try {
      await exec('ip', ['link', 'show', 'dev', TUNNEL_DEVICE]);
      return true;
    } catch (error) {
      if (error instanceof HostToolError && /does not exist/.test(error.stderr)) return false;
      throw error;
    }
  };

  /** Whether the kernel made the device itself. */
  const addKernelDevice = async (): Promise<boolean> => {
    if (forceUserspace) return false;
    try {
      await exec('ip', ['link', 'add', TUNNEL_DEVICE, 'type', 'wireguard']);
      return true;
    } catch (error) {
      if (error instanceof HostToolError && /Unknown device type|not supported/i.test(error.stderr))
        return false;
      throw error;
    }
  };

  const writeKey = async (): Promise<void> => {
    const known = await readFile(keyFile, 'utf8').catch(() => '');
    if (known.trim().length === 44) {
      await chmod(keyFile, 0o600);
      return;
    }
    await rm(keyFile, { force: true });
    await writeFile(keyFile, `${await wg.generateKey()}\n`, { mode: 0o600, flag: 'wx' });
  };

  const waitFor = async (what: string, isDone: () => Promise<boolean>): Promise<void> => {
    const deadline = clock.monotonicMs() + waitMs;
    while (!(await isDone())) {
      if (clock.monotonicMs() > deadline) {
        throw new FluviaError(ERROR_CODES.TIMEOUT, `${TUNNEL_DEVICE} did not ${what} within ${waitMs} ms`, {
          hint: `look at the log of the container that runs wireguard-go on this node`,
        });
      }
      await clock.sleep(100);
    }
  };

  const isConfigurable = async (): Promise<boolean> =>
    (await hasLink()) &&
    wg.devices().then(
      (devices) => devices.some((device) => device.name === TUNNEL_DEVICE),
      () => false,
    );

  return {
    start: async () => {
      await mkdir(directory, { recursive: true });
      let isKernel = false;
      if (!(await exists(wantedFile)) && !(await hasLink())) isKernel = await addKernelDevice();
      if (!isKernel && !(await isConfigurable())) {
        await writeFile(wantedFile, '');
        await waitFor('appear', isConfigurable);
      }
      await writeKey();
      await wg.setPrivateKeyFile(TUNNEL_DEVICE, keyFile);
      // The kernel's device holds its key itself.
      if (!(await exists(wantedFile))) await rm(keyFile, { force: true });
    },
    stop: async () => {
      const wasUserspace = await exists(wantedFile);
      await rm(wantedFile, { force: true });
      if (wasUserspace) {
        await waitFor('vanish', async () => !(await hasLink())).catch(async (error: unknown) => {
          // Its container may be gone already; the device must not stay.
          if (await hasLink()) await exec('ip', ['link', 'delete', TUNNEL_DEVICE]);
          if (await hasLink()) throw error;
        });
      } else if (await hasLink()) {
        await exec('ip', ['link', 'delete', TUNNEL_DEVICE]);
      }
      await rm(keyFile, { force: true });
    },
    isWanted: () => exists(wantedFile),
  };
};
