/** `node mover-process.ts JSON`: the mover as its container runs it, but in given folders. */
import { runMover, type MoverPaths } from '../../storage-fabric/mover/run.ts';

process.exit(await runMover(JSON.parse(process.argv[2] ?? '') as MoverPaths));
