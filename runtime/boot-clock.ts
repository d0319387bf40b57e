import { uptime } from 'node:os';

/** BootClock gives milliseconds since the machine booted, suspend included; it has no meaning on another machine. */
export type BootClock = () => number;

/**
 * systemBootClock reads CLOCK_BOOTTIME, in steps of 10 ms. `os.uptime()` is /proc/uptime; `process.hrtime` and
 * `performance.now` are CLOCK_MONOTONIC, which stands still while a machine is suspended: a lease would outlive its time by
 * the length of the nap.
 */
export const systemBootClock: BootClock = () => uptime() * 1000;
