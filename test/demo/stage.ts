import { eventually, fluviactl } from '../support/fluviactl.ts';
import { applyObjects } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';
import type { Narrator } from './narrator.ts';

export const HOME = 'home';
export const PEERS = ['east', 'west'] as const;
export const CLUSTERS = [HOME, ...PEERS] as const;
export const PAIRS = [
  [HOME, 'east'],
  [HOME, 'west'],
  ['east', 'west'],
] as const;
/** Namespace of the web application. */
export const SHOP = 'shop';
/** Namespace of the database. */
export const ORDERS = 'orders';
/** A pod at home, in a namespace that stays there. */
export const CLIENT = 'client';

/** A pod of the namespace as home sees it. */
export interface PodRow {
  readonly name: string;
  readonly ip: string;
  readonly node: string;
  readonly ready: boolean;
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: {
      readonly podIP?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  }[];
}

/** What the demo's steps share: the clusters, and telling what is done to them. */
export class Stage {
  readonly testbed: Testbed;
  readonly say: Narrator;

  constructor(testbed: Testbed, say: Narrator) {
    this.testbed = testbed;
    this.say = say;
  }

  /** Runs kubectl, showing the command and what it prints. */
  async kubectl(cluster: string, ...args: readonly string[]): Promise<string> {
    this.say.command(`kubectl --context ${cluster} ${args.join(' ')}`);
    const output = await this.testbed.kubectl(cluster, args);
    this.say.output(output);
    return output;
  }

  /** Runs fluviactl on a cluster, showing the command and what it prints. */
  async fluviactl(cluster: string, ...args: readonly string[]): Promise<string> {
    this.say.command(`fluviactl ${args.join(' ')} --kubeconfig ${cluster}`);
    return fluviactl([...args, '--kubeconfig', this.testbed.kubeconfigPath(cluster)], {
      onLine: (line) => this.say.output(line),
    });
  }

  /** Runs kubectl at home without telling. */
  atHome(...args: readonly string[]): Promise<string> {
    return this.testbed.kubectl(HOME, args);
  }

  /** Applies objects at home in a namespace (where they name no other). */
  async apply(namespace: string, ...items: readonly object[]): Promise<void> {
    await applyObjects(this.testbed, HOME, items, namespace);
  }

  /** Pods of a namespace at home that are not ending. */
  async pods(namespace: string, selector: string): Promise<readonly PodRow[]> {
    const list = JSON.parse(
      await this.atHome('get', 'pods', '-n', namespace, '-l', selector, '-o', 'json'),
    ) as PodList;
    return list.items
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata, spec, status }) => ({
        name: metadata.name,
        ip: status.podIP ?? '',
        node: spec.nodeName ?? '',
        ready: status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false,
      }));
  }

  /** Waits until `count` pods are Ready (at `node`, if it is named). */
  waitForPods(
    namespace: string,
    selector: string,
    count: number,
    timeoutMs = 120_000,
    node?: string,
  ): Promise<readonly PodRow[]> {
    return eventually(
      `${count} pods (${selector}) are Ready${node === undefined ? '' : ` on ${node}`}`,
      async () => {
        const pods = await this.pods(namespace, selector);
        const isThere = (pod: PodRow): boolean =>
          pod.ready && pod.ip !== '' && (node === undefined || pod.node === node);
        if (pods.length === count && pods.every(isThere)) return pods;
        const seen = pods.map(
          (pod) => `${pod.name} ${pod.ready ? 'Ready' : 'not Ready'} on ${pod.node || '-'}`,
        );
        throw new Error(seen.join(', ') || 'there is none');
      },
      timeoutMs,
      250,
    );
  }
}

/** One numbered step of the demo. */
export interface Step {
  readonly title: string;
  readonly act: (stage: Stage) => Promise<void>;
}
