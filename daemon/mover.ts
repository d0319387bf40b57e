/** `fluviad mover`: does the one transfer that its Secret names, says how it went in its termination message, and ends. */
import { runMover } from '../storage-fabric/mover/run.ts';

process.exitCode = await runMover();
