import type { BootClock } from './boot-clock.ts';
import type { Clock } from './clock.ts';
import type { KubeClient } from './kube/client.ts';
import type { EventRecorder } from './kube/events.ts';
import type { InformerFactory } from './kube/informer-factory.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

/** What every controller of the leader is given; made in one place, `daemon/`. */
export interface ControllerDeps {
  readonly client: KubeClient;
  /** One informer per resource and selector, shared by all controllers of the process. */
  readonly informers: InformerFactory;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
  /** This cluster's human name. */
  readonly clusterName: string;
  /** Namespace that Fluvia is installed in. */
  readonly systemNamespace: string;
  /** Name and address of this pod. */
  readonly podName: string;
  readonly podIP: string;
  /** The leader term (the Lease's transitions) that this process leads in: a fencing number. */
  readonly leaderTransitions: number;
  /** Whether the leader's Lease is held right now, by the boot clock; absent: always. */
  readonly isLeading?: () => boolean;
  /** Absent: the machine's. */
  readonly bootClock?: BootClock;
  /** Fluvia's own image, for containers that it adds to pods. */
  readonly image?: string;
}
