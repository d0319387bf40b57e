import { setTimeout as sleep } from 'node:timers/promises';
import { GROUP } from '../api/labels.ts';
import type { Stage } from '../deploy/manifests/manifest.ts';
import { refOf } from '../deploy/manifests/refs.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { isNotFound } from '../runtime/kube/errors.ts';
import { CRD } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { Steps } from './output/steps.ts';
import { waitUntil } from './wait.ts';

/** Field manager of everything that the CLI writes. */
export const FIELD_MANAGER = 'fluviactl';

interface Established {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
}

const crdsEstablished = async (
  client: KubeClient,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> =>
  waitUntil(
    async () => {
      const crds = await Promise.all(names.map((name) => client.get<Established>(CRD, name)));
      const missing = names.filter(
        (_, i) => !crds[i]?.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True'),
      );
      return missing.length === 0
        ? { done: undefined }
        : { waitingFor: `${missing.join(', ')} not established` };
    },
    {
      what: 'the CRDs',
      timeoutMs: 30_000,
      intervalMs: 200,
      signal,
      hint: `kubectl describe crd ${names[0] ?? ''} says why`,
    },
  );

/** Applies one object, taking over the fields that it names. Another manager's other fields stay as they are. */
export const applyObject = async (
  client: KubeClient,
  object: KubeObject,
  signal: AbortSignal,
): Promise<void> => {
  const resource = refOf(object);
  for (let tries = 1; ; tries += 1) {
    try {
      await client.apply(resource, object, { fieldManager: FIELD_MANAGER, force: true, signal });
      return;
    } catch (error) {
      // a kind is served a moment after its CRD says so
      if (!(resource.group === GROUP && isNotFound(error) && tries < 40)) {
        throw error;
      }
      await sleep(250, undefined, { signal });
    }
  }
};

/** Applies stage after stage; within one, objects go together. Running it again changes nothing that stands. */
export const applyStages = async (
  client: KubeClient,
  stages: readonly Stage[],
  steps: Steps,
  signal: AbortSignal,
): Promise<void> => {
  for (const stage of stages) {
    await steps.run(stage.title, async () => {
      await Promise.all(stage.objects.map((object) => applyObject(client, object, signal)));
      const crds = stage.objects.filter((object) => object.kind === CRD.kind);
      if (crds.length > 0) {
        await crdsEstablished(
          client,
          crds.map((crd) => crd.metadata.name),
          signal,
        );
      }
    });
  }
};
