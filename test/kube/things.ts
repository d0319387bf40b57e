/** A small custom kind with a status, for tests. */
import type { KubeClient } from '../../runtime/kube/client.ts';
import { CRD, type ResourceRef } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { waitUntil } from '../testbed/processes.ts';

export interface ThingStatus {
  readonly color?: string;
  readonly note?: string;
}

export interface Thing extends KubeObject {
  readonly status?: ThingStatus;
}

const things: ResourceRef = {
  group: 'test.fluvia.dev',
  version: 'v1',
  plural: 'things',
  namespaced: false,
  kind: 'Thing',
};

const text = { type: 'string' };

/** installThings makes the kind and waits until it is served. */
export const installThings = async (client: KubeClient): Promise<ResourceRef> => {
  await client.create(CRD, {
    metadata: { name: 'things.test.fluvia.dev' },
    spec: {
      group: things.group,
      names: { plural: things.plural, singular: 'thing', kind: things.kind, listKind: 'ThingList' },
      scope: 'Cluster',
      versions: [
        {
          name: things.version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: { status: { type: 'object', properties: { color: text, note: text } } },
            },
          },
        },
      ],
    },
  });
  const served = async (): Promise<boolean> =>
    client.list(things).then(
      () => true,
      () => false,
    );
  if (!(await waitUntil(served, 20_000))) throw new Error('the kind Thing is not served');
  return things;
};
