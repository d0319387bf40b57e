import type { ContainerStreamRequest } from '../../api/link.ts';
import type { Pod } from '../../runtime/kube/types.ts';

/** A request of the kubelet API that goes to a container. */
export interface ContainerPath {
  readonly verb: ContainerStreamRequest['verb'];
  readonly namespace: string;
  readonly pod: string;
  /** Given by some clients of exec and attach; must be the pod's then. */
  readonly uid?: string;
  readonly container?: string;
}

const VERBS: Readonly<Record<string, ContainerStreamRequest['verb']>> = {
  containerLogs: 'logs',
  exec: 'exec',
  attach: 'attach',
  portForward: 'portForward',
};

const decode = (segment: string): string | undefined => {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
};

const NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Reads `/containerLogs/NS/POD/C`, `/exec|attach/NS/POD[/UID]/C`, `/portForward/NS/POD[/UID]`; undefined for others. */
export const parseContainerPath = (path: string): ContainerPath | undefined => {
  const parts = path.split('/').slice(1).map(decode);
  const [first = '', namespace, pod, ...rest] = parts;
  const verb = VERBS[first];
  if (verb === undefined || !Object.hasOwn(VERBS, first)) return undefined;
  if (namespace === undefined || pod === undefined || !NAME.test(namespace) || !NAME.test(pod))
    return undefined;
  if (rest.some((part) => part === undefined || part === '')) return undefined;
  const [a, b] = rest;
  const base = { verb, namespace, pod };
  if (verb === 'portForward') {
    return rest.length > 1 ? undefined : { ...base, ...(a === undefined ? {} : { uid: a }) };
  }
  if (verb === 'logs') return rest.length === 1 && a !== undefined ? { ...base, container: a } : undefined;
  if (rest.length === 1 && a !== undefined) return { ...base, container: a };
  return rest.length === 2 && a !== undefined && b !== undefined
    ? { ...base, uid: a, container: b }
    : undefined;
};

/** Why this request may not go to this pod; undefined when it may. Only containers of home's own spec are reachable. */
export const whyNotReachable = (
  path: ContainerPath,
  pod: Pod | undefined,
  node: string,
): { readonly status: 400 | 404; readonly message: string } | undefined => {
  const full = `${path.namespace}/${path.pod}`;
  if (pod === undefined || pod.spec.nodeName !== node)
    return { status: 404, message: `pod ${full} does not run on ${node}` };
  if (path.uid !== undefined && path.uid !== pod.metadata.uid)
    return { status: 404, message: `pod ${full} has another UID` };
  if (path.verb === 'portForward') return undefined;
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  return containers.some((c) => c.name === path.container)
    ? undefined
    : { status: 404, message: `container ${path.container ?? ''} is not in the spec of pod ${full}` };
};

const MAX_VALUES = 256;

/** The query as lists; more values than anyone needs are cut off. */
export const queryOf = (search: URLSearchParams): Record<string, string[]> => {
  const query: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  let left = MAX_VALUES;
  for (const [name, value] of search) {
    if ((left -= 1) < 0) break;
    (query[name] ??= []).push(value);
  }
  return { ...query };
};

const TRAVELLING =
  /^(?:upgrade|connection|x-stream-protocol-version|sec-websocket-(?:key|version|protocol|extensions))$/;

/** The headers that travel to the provider: only those of the upgrade. */
export const upgradeHeaders = (
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([name, value]) => TRAVELLING.test(name) && value !== undefined)
      .map(([name, value]) => [name, typeof value === 'string' ? value : (value ?? []).join(', ')]),
  );
