import { NAMES, SLICE_SERVICE_LABEL } from '../../api/labels.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { ENDPOINT_SLICE, MUTATING_WEBHOOK_CONFIGURATION, SECRET } from '../../runtime/kube/resources.ts';
import type { EndpointSlice, KubeObject, Secret } from '../../runtime/kube/types.ts';
import { certificateOf } from './certificate-store.ts';

/** The two configurations, made by the install manifest. */
export const WEBHOOK_CONFIGURATIONS = ['fluvia-remote', 'fluvia'] as const;

interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig?: { readonly caBundle?: string };
  }[];
}

/** Whether admission can work: both configurations trust our CA and a replica answers behind the Service. */
export interface WebhookHealth {
  /** Undefined when it works, else what is missing. */
  problem(): string | undefined;
  onChange(listener: () => void): () => void;
}

const key = 'ca-bundle';
/** Owns the CA in the configurations; the installer owns the rest of them. */
const FIELD_MANAGER = 'fluvia-webhook-ca';

/** Keeps the CA of Secret `fluvia-webhook` in both MutatingWebhookConfigurations; the leader runs it. */
export const startCaBundle = (deps: ControllerDeps, signal: AbortSignal): WebhookHealth => {
  const { client, informers, systemNamespace } = deps;
  const configurations = informers.for<WebhookConfiguration>(MUTATING_WEBHOOK_CONFIGURATION);
  const secrets = informers.for<Secret>(SECRET, {
    namespace: systemNamespace,
    fieldSelector: `metadata.name=${NAMES.webhookSecret}`,
  });
  const slices = informers.for<EndpointSlice>(ENDPOINT_SLICE);
  const listeners = new Set<() => void>();

  const wantedBundle = (): string | undefined => {
    const certificate = certificateOf(secrets.get(systemNamespace, NAMES.webhookSecret), deps.clock.now());
    return certificate && Buffer.from(certificate.ca).toString('base64');
  };

  const reconcile = async (): Promise<ReconcileResult> => {
    const bundle = wantedBundle();
    for (const name of WEBHOOK_CONFIGURATIONS) {
      const found = configurations.get(undefined, name);
      if (bundle === undefined || found === undefined) continue;
      const changes = (found.webhooks ?? []).filter((hook) => hook.clientConfig?.caBundle !== bundle);
      if (changes.length === 0) continue;
      // Entries go by name and ours is one field of them, so no version needs to be guarded: right after our own write, the
      // cache may still show the version before it, and this write then changes nothing.
      const manifest = {
        metadata: { name, uid: found.metadata.uid },
        webhooks: changes.map((hook) => ({ name: hook.name, clientConfig: { caBundle: bundle } })),
      };
      await client.apply(MUTATING_WEBHOOK_CONFIGURATION, manifest, {
        fieldManager: FIELD_MANAGER,
        force: true,
        signal,
      });
      deps.log.info('webhook configuration trusts our CA', { key: name });
    }
    for (const listener of listeners) listener();
    // A renewed certificate comes by the Secret's watch; this is for a lost write only.
    return { requeueAfterMs: 600_000 };
  };

  const isReachable = (): boolean =>
    slices
      .list()
      .some(
        (slice) =>
          slice.metadata.namespace === systemNamespace &&
          slice.metadata.labels?.[SLICE_SERVICE_LABEL] === NAMES.webhookService &&
          (slice.endpoints ?? []).some((endpoint) => endpoint.conditions?.ready !== false),
      );

  void runController(
    {
      name: 'offloading.ca-bundle',
      sources: [
        watchSource(configurations, (change) =>
          WEBHOOK_CONFIGURATIONS.some((name) => name === change.object.metadata.name) ? [key] : [],
        ),
        watchSource(secrets, (change) => (change.object.metadata.name === NAMES.webhookSecret ? [key] : [])),
        watchSource(slices, (change) =>
          change.object.metadata.namespace === systemNamespace &&
          change.object.metadata.labels?.[SLICE_SERVICE_LABEL] === NAMES.webhookService
            ? [key]
            : [],
        ),
      ],
      reconcile,
      workers: 1,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );

  return {
    problem: () => {
      const bundle = wantedBundle();
      if (bundle === undefined) return 'the webhook has no certificate yet';
      const bad = WEBHOOK_CONFIGURATIONS.find((name) => {
        const hooks = configurations.get(undefined, name)?.webhooks ?? [];
        return hooks.length === 0 || hooks.some((hook) => hook.clientConfig?.caBundle !== bundle);
      });
      if (bad !== undefined) return `MutatingWebhookConfiguration ${bad} is missing or has another CA`;
      return isReachable() ? undefined : `Service ${NAMES.webhookService} has no ready endpoint`;
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};
