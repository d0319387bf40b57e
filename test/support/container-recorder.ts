/** The thread of `recordContainers`: looks at the nodes again and again and posts each sample, until it is ended. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { Testbed } from '../testbed/testbed.ts';
import { createContainerLook, type RecorderTask } from './containers.ts';

const { testbed, nodes, everyMs } = workerData as RecorderTask;
// Of this thread alone. It needs little, but at the moment it is due, also on a machine that is busy with starting pods.
setPriority(-15);
const look = createContainerLook(Testbed.open(testbed), nodes);
// The empty list is of what is handed over instead of copied.
setInterval(() => parentPort?.postMessage(look(), []), everyMs);
