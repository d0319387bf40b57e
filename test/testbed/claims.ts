/**
 * What all testbeds of a machine share, under one lock in /run/fluvia: which /24 belongs to which testbed, and the
 * inotify limit, raised with the first testbed and put back with the last.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { TestbedError } from './errors.ts';
import { tryRun } from './exec.ts';
import type { Journal } from './journal.ts';
import { sweepLockDrafts, withLock } from './lock.ts';
import { machineRoot } from './paths.ts';
import { prefixOf, SLOTS, subnetOf } from './plan-addresses.ts';

const INOTIFY = '/proc/sys/fs/inotify/max_user_instances';
// a kubelet and a containerd use about thirty each: the usual 128 are gone with the fourth node
const INOTIFY_WANTED = 8192;

// `ip netns` mounts this folder on itself with the first namespace, and leaves it so
const NETNS = '/run/netns';

const claimsFolder = join(machineRoot, 'claims');
const inotifyFile = join(machineRoot, 'inotify-before');

const netnsFile = join(machineRoot, 'netns-before');

const locked = <T>(work: () => Promise<T>): Promise<T> =>
  withLock(join(machineRoot, 'lock'), work, { withinMs: 60_000 });

const tidy = (): void => {
  for (const folder of [claimsFolder, machineRoot]) {
    try {
      rmdirSync(folder);
    } catch {
      // not empty, or gone
    }
  }
};

const isMountPoint = (folder: string): boolean =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === folder);

/** Undoes what the first `ip netns add` did to the machine, unless somebody else has namespaces there now. */
const restoreNetnsFolder = async (): Promise<void> => {
  if (!existsSync(netnsFile)) return;
  const before = readFileSync(netnsFile, 'utf8');
  rmSync(netnsFile);
  if (before === 'mounted' || !existsSync(NETNS) || readdirSync(NETNS).length > 0) return;
  if (isMountPoint(NETNS)) await tryRun('umount', ['-n', NETNS]);
  if (before === 'absent') {
    try {
      rmdirSync(NETNS);
    } catch {
      // somebody made a namespace this moment
    }
  }
};

const readNumber = (path: string): number => Number(readFileSync(path, 'utf8'));

/** A slot is free if nobody claims it and nothing on the machine bears its names or addresses. */
const isFree = (slot: number): boolean => {
  if (existsSync(join(claimsFolder, String(slot)))) return false;
  const prefix = `${prefixOf(slot)}-`;
  const namespaces = existsSync(NETNS) ? readdirSync(NETNS) : [];
  const links = readdirSync('/sys/class/net');
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return (
    ![...namespaces, ...links].some((name) => name.startsWith(prefix)) &&
    !addresses.some(({ address }) => address.startsWith(`${subnetOf(slot)}.`))
  );
};

/** Claims the lowest free slot for the testbed whose state is in `stateFolder`. */
export const claimSlot = (journal: Journal, stateFolder: string): Promise<number> =>
  locked(async () => {
    mkdirSync(claimsFolder, { recursive: true });
    const slot = Array.from({ length: SLOTS }, (_, at) => at).find(isFree);
    if (slot === undefined)
      throw new TestbedError(
        'no /24 of 198.18.0.0/15 is free on this machine',
        'Take another testbed down: npm run testbed -- down --all',
      );
    const path = join(claimsFolder, String(slot));
    journal.add({ kind: 'claim', path });
    writeFileSync(path, stateFolder);
    if (!existsSync(netnsFile))
      writeFileSync(netnsFile, isMountPoint(NETNS) ? 'mounted' : existsSync(NETNS) ? 'folder' : 'absent');
    if (!existsSync(inotifyFile) && readNumber(INOTIFY) < INOTIFY_WANTED) {
      writeFileSync(inotifyFile, String(readNumber(INOTIFY)));
      writeFileSync(INOTIFY, String(INOTIFY_WANTED));
    }
    return slot;
  });

/** Gives a testbed's claims back (not those that another took meanwhile); with the last one the machine is as it was. */
export const releaseSlots = async (paths: readonly string[], stateFolder: string): Promise<void> => {
  if (!existsSync(machineRoot)) return;
  await locked(async () => {
    for (const path of paths)
      if (existsSync(path) && readFileSync(path, 'utf8') === stateFolder) rmSync(path);
    const others = existsSync(claimsFolder) ? readdirSync(claimsFolder) : [];
    if (others.length === 0) await restoreNetnsFolder();
    if (others.length === 0 && existsSync(inotifyFile)) {
      if (readNumber(INOTIFY) === INOTIFY_WANTED) writeFileSync(INOTIFY, readFileSync(inotifyFile));
      rmSync(inotifyFile);
    }
    sweepLockDrafts(machineRoot);
  });
  tidy();
};
