import type { Node, Pod } from '../../runtime/kube/types.ts';

/**
 * What a virtual kubelet can truthfully say without asking the provider: which pods and containers there are and since
 * when. Usage comes with the provider's metrics in a later version.
 */
export const statsSummary = (node: Node, pods: readonly Pod[]): unknown => ({
  node: { nodeName: node.metadata.name, startTime: node.metadata.creationTimestamp },
  pods: pods.map((pod) => ({
    podRef: { name: pod.metadata.name, namespace: pod.metadata.namespace, uid: pod.metadata.uid },
    startTime: pod.status?.startTime ?? pod.metadata.creationTimestamp,
    containers: (pod.status?.containerStatuses ?? []).flatMap((status) =>
      status.state?.running?.startedAt === undefined
        ? []
        : [{ name: status.name, startTime: status.state.running.startedAt }],
    ),
  })),
});

const escape = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

/** `/metrics/resource`: start times of running containers (Prometheus text format). */
export const resourceMetrics = (pods: readonly Pod[]): string => {
  const lines = pods.flatMap((pod) =>
    (pod.status?.containerStatuses ?? []).flatMap((status) => {
      const seconds = Date.parse(status.state?.running?.startedAt ?? '') / 1000;
      const { name, namespace = '' } = pod.metadata;
      return Number.isFinite(seconds)
        ? [
            `container_start_time_seconds{container="${escape(status.name)}",namespace="${escape(namespace)}",pod="${escape(name)}"} ${seconds}`,
          ]
        : [];
    }),
  );
  return [
    '# HELP container_start_time_seconds Start time of the container since unix epoch in seconds',
    '# TYPE container_start_time_seconds gauge',
    ...lines,
    '',
  ].join('\n');
};
