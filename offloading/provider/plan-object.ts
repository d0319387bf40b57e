/** Makes the object that this cluster gets of a consumer's Service, ConfigMap, Secret or EndpointSlice. */
import type { OBJECTS } from '../../api/collections.ts';
import {
  ANNOTATIONS,
  ENDPOINT_SLICE_MANAGED_BY,
  LABELS,
  SLICE_MANAGED_BY_LABEL,
  SLICE_SERVICE_LABEL,
} from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import type { ViewRange } from '../../api/v1alpha1/view.ts';
import { seenAs } from '../../api/views.ts';
import { isOfEveryNamespace, nameInTwin } from './name-in-twin.ts';
import { isLabelKey, isLabelValue, safeAnnotations, safeLabels } from './reflected-meta.ts';

export type ObjectItem = ItemOf<typeof OBJECTS>;
type PlainItem = Extract<ObjectItem, { body: unknown }>;
type SliceItem = Extract<ObjectItem, { endpoints: unknown }>;
export type ReflectedKind = ObjectItem['kind'];

/** A manifest of one of the reflected kinds. */
export interface ReflectedManifest {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export interface ObjectWorld {
  /** The consumer. */
  readonly clusterID: string;
  /** This cluster. */
  readonly ownClusterID: string;
  readonly twin: string;
  /** Where this cluster sees a cluster's addresses; undefined for one that it isn't peered with. */
  readonly viewOf: (clusterID: string) => readonly ViewRange[] | undefined;
  /** Whether the link to a cluster is up, or broke only just now. */
  readonly isAlive: (clusterID: string) => boolean;
}

export type ObjectPlan =
  | {
      readonly ok: true;
      readonly manifest: ReflectedManifest;
      /** Endpoints that were left out, for people. */
      readonly dropped: readonly string[];
    }
  | { readonly ok: false; readonly reason: string; readonly message: string };

type Fields = Readonly<Record<string, unknown>>;

const DATA_KEY = /^[-._a-zA-Z0-9]{1,253}$/;

const refused = (reason: string, message: string): ObjectPlan => ({ ok: false, reason, message });

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const oneOf = <T extends string>(value: unknown, allowed: readonly T[]): T | undefined =>
  allowed.find((one) => one === value);

const intIn = (value: unknown, min: number, max: number): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined;

const shortText = (value: unknown): string | undefined =>
  typeof value === 'string' && value.length <= 253 ? value : undefined;

const defined = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

const metadataOf = (item: ObjectItem, world: ObjectWorld, labels: Fields): ReflectedManifest['metadata'] => ({
  name: nameInTwin(item.kind, item.name),
  namespace: world.twin,
  labels: {
    ...('labels' in item ? safeLabels(item.labels) : {}),
    ...(labels as Record<string, string>),
    [LABELS.origin]: world.clusterID,
    [LABELS.reflected]: 'true',
  },
  annotations: {
    ...('annotations' in item ? safeAnnotations(item.annotations) : {}),
    [ANNOTATIONS.originUID]: item.uid,
    ...(nameInTwin(item.kind, item.name) === item.name ? {} : { [ANNOTATIONS.originName]: item.name }),
  },
});

const stringsOf = (value: unknown): Record<string, string> | undefined =>
  isFields(value)
    ? Object.fromEntries(
        Object.entries(value).filter(
          (entry): entry is [string, string] => DATA_KEY.test(entry[0]) && typeof entry[1] === 'string',
        ),
      )
    : undefined;

const planConfigMap = (item: PlainItem, world: ObjectWorld): ObjectPlan => ({
  ok: true,
  dropped: [],
  manifest: {
    metadata: metadataOf(item, world, {}),
    ...defined({
      data: stringsOf(item.body['data']),
      binaryData: stringsOf(item.body['binaryData']),
      immutable: item.body['immutable'] === true ? true : undefined,
    }),
  },
});

const planSecret = (item: PlainItem, world: ObjectWorld): ObjectPlan => {
  const type = shortText(item.body['type']) ?? 'Opaque';
  // Under its own types this cluster's token controller would fill it with credentials.
  const isCredential =
    type === 'kubernetes.io/service-account-token' || type.startsWith('bootstrap.kubernetes.io/');
  return {
    ok: true,
    dropped: [],
    manifest: {
      metadata: metadataOf(item, world, {}),
      type: isCredential ? 'Opaque' : type,
      ...defined({
        data: stringsOf(item.body['data']) ?? {},
        immutable: item.body['immutable'] === true ? true : undefined,
      }),
    },
  };
};

const planPort = (raw: unknown): Fields | undefined => {
  if (!isFields(raw)) return undefined;
  const port = intIn(raw['port'], 1, 65535);
  if (port === undefined) return undefined;
  return defined({
    name: shortText(raw['name']),
    protocol: oneOf(raw['protocol'], ['TCP', 'UDP', 'SCTP']),
    appProtocol: shortText(raw['appProtocol']),
    port,
    targetPort: intIn(raw['targetPort'], 1, 65535) ?? shortText(raw['targetPort']),
  });
};

const selectorOf = (value: unknown): Record<string, string> | undefined => {
  const entries = isFields(value) ? Object.entries(value) : [];
  // A selector of which a part is left out would select more: then it selects what can't be.
  const valid = entries.filter(
    (entry): entry is [string, string] =>
      isLabelKey(entry[0]) && typeof entry[1] === 'string' && isLabelValue(entry[1]),
  );
  if (entries.length === 0) return undefined;
  return valid.length === entries.length ? Object.fromEntries(valid) : { [LABELS.originNamespace]: 'none' };
};

const planService = (item: PlainItem, world: ObjectWorld): ObjectPlan => {
  const spec = item.body['spec'];
  if (!isFields(spec)) return refused('InvalidObject', `Service ${item.name} has no spec`);
  if (spec['type'] === 'ExternalName') {
    return refused('NotOffered', `Service ${item.name} is of type ExternalName, which is not reflected`);
  }
  const ports = (Array.isArray(spec['ports']) ? spec['ports'].slice(0, 250) : []).map(planPort);
  const timeout = isFields(spec['sessionAffinityConfig'])
    ? spec['sessionAffinityConfig']['clientIP']
    : undefined;
  const seconds = isFields(timeout) ? intIn(timeout['timeoutSeconds'], 1, 86_400) : undefined;
  const affinity = oneOf(spec['sessionAffinity'], ['ClientIP', 'None']);
  return {
    ok: true,
    dropped: [],
    manifest: {
      metadata: metadataOf(item, world, {}),
      spec: defined({
        type: 'ClusterIP',
        clusterIP: spec['clusterIP'] === 'None' ? 'None' : undefined,
        ports: ports.filter((port) => port !== undefined),
        selector: selectorOf(spec['selector']),
        sessionAffinity: affinity,
        sessionAffinityConfig:
          affinity === 'ClientIP' && seconds !== undefined
            ? { clientIP: { timeoutSeconds: seconds } }
            : undefined,
        publishNotReadyAddresses: spec['publishNotReadyAddresses'] === true ? true : undefined,
      }),
    },
  };
};

const planSlice = (item: SliceItem, world: ObjectWorld): ObjectPlan => {
  const dropped: string[] = [];
  const seen = new Set<string>();
  const endpoints = item.endpoints.flatMap((endpoint) => {
    // Our own pods are in the slices that this cluster's controller writes for the Service.
    if (endpoint.clusterID === world.ownClusterID) return [];
    const ranges = world.viewOf(endpoint.clusterID);
    // Only ever an address inside a view: a peer can't make this cluster dial anything else.
    const address = ranges === undefined ? undefined : seenAs(ranges, endpoint.address);
    if (address === undefined) {
      dropped.push(`${endpoint.address} of cluster ${endpoint.clusterID}`);
      return [];
    }
    if (seen.has(address)) return [];
    seen.add(address);
    const ready = endpoint.ready && world.isAlive(endpoint.clusterID);
    return [
      {
        addresses: [address],
        conditions: { ready, serving: ready, terminating: false },
        ...(endpoint.hostname === undefined || endpoint.hostname === ''
          ? {}
          : { hostname: endpoint.hostname }),
      },
    ];
  });
  return {
    ok: true,
    dropped,
    manifest: {
      metadata: metadataOf(item, world, {
        [SLICE_MANAGED_BY_LABEL]: ENDPOINT_SLICE_MANAGED_BY,
        [SLICE_SERVICE_LABEL]: item.service,
      }),
      addressType: 'IPv4',
      ports: item.ports.map((port) => defined(port)),
      endpoints,
    },
  };
};

/** The manifest for the twin, or why there is none. */
export const planObject = (item: ObjectItem, world: ObjectWorld): ObjectPlan => {
  if (isOfEveryNamespace(item.kind, item.name)) {
    return refused('LeftAlone', `${item.kind} ${item.name} is this cluster's own`);
  }
  if (item.kind === 'EndpointSlice') return planSlice(item, world);
  if (item.kind === 'Service') return planService(item, world);
  return item.kind === 'Secret' ? planSecret(item, world) : planConfigMap(item, world);
};

/** Fields of which nothing may be there that isn't wanted. */
const EXACT = new Set(['data', 'binaryData', 'labels', 'endpoints', 'ports', 'selector']);

/** Whether `live` has everything that `wanted` says; what the API server adds beside it doesn't count. */
export const holds = (live: unknown, wanted: unknown, exact = false): boolean => {
  if (Array.isArray(wanted)) {
    const others: readonly unknown[] = Array.isArray(live) ? live : [];
    return others.length === wanted.length && wanted.every((one, index) => holds(others[index], one));
  }
  if (!isFields(wanted)) return live === wanted;
  const others: Fields = isFields(live) ? live : {};
  const keys = Object.keys(wanted);
  return (
    keys.every((key) =>
      holds(Object.hasOwn(others, key) ? others[key] : undefined, wanted[key], EXACT.has(key)),
    ) &&
    (!exact || Object.keys(others).length === keys.length)
  );
};
