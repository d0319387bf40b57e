import type { Testbed } from '../testbed/testbed.ts';
import { eventually } from './fluviactl.ts';

/** Applies objects to a cluster by kubectl, in `namespace` where they name none. */
export const applyObjects = (
  testbed: Testbed,
  cluster: string,
  items: readonly object[],
  namespace?: string,
): Promise<string> =>
  testbed.kubectl(cluster, ['apply', ...(namespace === undefined ? [] : ['-n', namespace]), '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
  });

/** Waits until a namespace is open to the fabric; its NamespaceOffloading may come a moment after the label. */
export const namespaceOpened = (
  testbed: Testbed,
  home: string,
  namespace: string,
  timeoutMs = 90_000,
): Promise<true> =>
  eventually<true>(
    `namespace ${namespace} is open`,
    async () => {
      const args = ['wait', '-n', namespace, '--for=condition=Ready', 'namespaceoffloading/offloading'];
      await testbed.kubectl(home, [...args, '--timeout=5s']);
      return true;
    },
    timeoutMs,
  );
