/** What this cluster demands of a consumer's pods, whatever that asks: by the GrantPolicy of its peer, and by what the nodes here can do. */
import { parseQuantity } from '../../api/quantity.ts';
import { LEAST_REQUESTS, type GrantPolicy } from '../../api/v1alpha1/grant.ts';
import type { PodSecurityLevel } from './plan-pod.ts';
import type { ForeignPodSpec } from './pod-schema.ts';

export type LeastRequests = GrantPolicy['spec']['leastRequests'];

export interface PodRules {
  readonly level: PodSecurityLevel;
  readonly leastRequests: LeastRequests;
  /** Every image is asked of its registry, with the pod's own credentials, before it runs. */
  readonly alwaysPull: boolean;
}

/** The first kubelet that by itself lets a pod use a cached image only if its credentials could pull it. */
const VERIFYING_KUBELET = [1, 35] as const;

const isVerifying = (kubeletVersion: string): boolean => {
  const [, major, minor] = /^v?(\d{1,4})\.(\d{1,4})/.exec(kubeletVersion) ?? [];
  if (major === undefined || minor === undefined) return false;
  const [first, second] = VERIFYING_KUBELET;
  return Number(major) > first || (Number(major) === first && Number(minor) >= second);
};

/** The rules of a policy (the built-in ones without), for a cluster whose nodes run these kubelets. */
export const planPodRules = (
  policy: GrantPolicy | undefined,
  kubeletVersions: Iterable<string>,
): PodRules => ({
  level: policy?.spec.podSecurity ?? 'baseline',
  leastRequests: policy?.spec.leastRequests ?? LEAST_REQUESTS,
  alwaysPull:
    policy?.spec.imagePull === undefined
      ? [...kubeletVersions].some((version) => !isVerifying(version))
      : policy.spec.imagePull === 'Always',
});

type Resources = NonNullable<ForeignPodSpec['resources']>;
type Lists = { readonly [Name in string]?: string | undefined };

const own = (list: Lists | undefined, name: string): string | undefined =>
  list !== undefined && Object.hasOwn(list, name) ? list[name] : undefined;

/** What is asked at least, but never more than the limit: less than that can't be used. */
const raised = (least: string, request: string | undefined, limit: string | undefined): string => {
  const asked = request ?? limit;
  const wanted = limit !== undefined && parseQuantity(limit) < parseQuantity(least) ? limit : least;
  return asked !== undefined && parseQuantity(asked) >= parseQuantity(wanted) ? asked : wanted;
};

const withLeast = (resources: Resources | undefined, least: LeastRequests): Resources | undefined => {
  const requests: Record<string, string> = { ...resources?.requests };
  for (const [name, amount] of Object.entries(least)) {
    if (amount !== undefined)
      requests[name] = raised(amount, own(resources?.requests, name), own(resources?.limits, name));
  }
  return Object.keys(requests).length === 0 ? resources : { ...resources, requests };
};

const withoutKeys = (least: LeastRequests, lists: readonly (Lists | undefined)[]): LeastRequests =>
  Object.fromEntries(
    Object.entries(least).filter(([name]) => lists.every((list) => own(list, name) === undefined)),
  );

const onlyKeys = (least: LeastRequests, others: LeastRequests): LeastRequests =>
  Object.fromEntries(Object.entries(least).filter(([name]) => own(others, name) === undefined));

/**
 * The spec under these rules. Where the pod asks as a whole for a resource, the least is asked as a whole, too: containers
 * may not ask for more together than their pod does.
 * @throws {FluviaError} BAD_INPUT for a quantity that is none.
 */
export const underRules = <S extends ForeignPodSpec>(spec: S, rules: PodRules): S => {
  const { requests, limits } = spec.resources ?? {};
  const perContainer = withoutKeys(rules.leastRequests, [requests, limits]);
  const perPod = onlyKeys(rules.leastRequests, perContainer);
  const container = (one: S['containers'][number]): S['containers'][number] => {
    const resources = withLeast(one.resources, perContainer);
    return {
      ...one,
      ...(resources === undefined ? {} : { resources }),
      ...(rules.alwaysPull ? { imagePullPolicy: 'Always' as const } : {}),
    };
  };
  const resources = spec.resources === undefined ? undefined : withLeast(spec.resources, perPod);
  return {
    ...spec,
    containers: spec.containers.map(container),
    ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(container) }),
    ...(resources === undefined ? {} : { resources }),
    ...(rules.alwaysPull && spec.volumes !== undefined
      ? {
          volumes: spec.volumes.map((volume) =>
            volume.image === undefined
              ? volume
              : { ...volume, image: { ...volume.image, pullPolicy: 'Always' as const } },
          ),
        }
      : {}),
  };
};
