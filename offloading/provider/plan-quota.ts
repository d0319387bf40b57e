/** What a pod counts against a Grant, and whether it fits. All amounts are whole numbers: millicores, bytes, pieces. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { parseQuantity, type ResourceList } from '../../api/quantity.ts';

/** Resource name → whole number. */
export type Amounts = Readonly<Record<string, number>>;

/** The parts of a container that count. */
export interface CountedContainer {
  readonly restartPolicy?: string | undefined;
  readonly resources?:
    | { readonly requests?: ResourceList | undefined; readonly limits?: ResourceList | undefined }
    | undefined;
}

/** The parts of a PodSpec that count. */
export interface CountedPod {
  readonly containers: readonly CountedContainer[];
  readonly initContainers?: readonly CountedContainer[] | undefined;
  readonly resources?: CountedContainer['resources'];
}

/** A resource of which there is not enough. */
export interface Shortage {
  readonly resource: string;
  readonly needed: number;
  /** What the grant still has; undefined when it has none of this kind at all. */
  readonly free: number | undefined;
  /** Whether it is all that the consumer runs here that has reached its limit, not this grant alone. */
  readonly ofAll?: boolean;
}

const RESOURCE = /^[A-Za-z0-9](?:[-A-Za-z0-9_./]{0,251}[A-Za-z0-9])?$/;

/** Names come from a peer: `constructor` must not find what every object inherits. */
const at = (amounts: Amounts, resource: string): number | undefined =>
  Object.hasOwn(amounts, resource) ? amounts[resource] : undefined;

/** Resources beyond these are never sums that a float can't hold exactly. */
const MAX_AMOUNT = Number.MAX_SAFE_INTEGER / 1024;

/**
 * The amount of a quantity, rounded up as Kubernetes does for what is asked.
 * @throws {FluviaError} BAD_INPUT for what is no quantity.
 */
const amountUp = (resource: string, text: string): number => {
  if (!RESOURCE.test(resource)) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `"${resource.slice(0, 64)}" is not a resource name`, {
      kind: 'terminal',
    });
  }
  const value = parseQuantity(text) * (resource === 'cpu' ? 1000 : 1);
  // The last digits of a float product are noise: 0.1 × 1000 must stay 100.
  return Math.min(Math.ceil(Number(value.toPrecision(15))), MAX_AMOUNT);
};

/** The amounts that a list gives, rounded down. */
export const amountsGiven = (list: ResourceList | undefined): Amounts =>
  Object.fromEntries(
    Object.entries(list ?? {}).map(([resource, text]) => [
      resource,
      Math.min(
        Math.floor(Number((parseQuantity(text) * (resource === 'cpu' ? 1000 : 1)).toPrecision(15))),
        MAX_AMOUNT,
      ),
    ]),
  );

/** Text of amounts, for people and for `status.used`. */
export const formatAmounts = (amounts: Amounts): Record<string, string> =>
  Object.fromEntries(
    Object.entries(amounts).map(([resource, amount]) => [resource, formatAmount(resource, amount)]),
  );

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti'] as const;

/** Text of one amount. */
export const formatAmount = (resource: string, amount: number): string => {
  if (resource === 'cpu') return amount % 1000 === 0 ? String(amount / 1000) : `${amount}m`;
  const binary = resource === 'memory' || resource.endsWith('storage') || resource.startsWith('hugepages-');
  let whole = amount;
  let unit = 0;
  if (!binary) return String(whole);
  while (whole > 0 && whole % 1024 === 0 && unit < UNITS.length - 1) {
    whole /= 1024;
    unit += 1;
  }
  return `${whole}${UNITS[unit] ?? ''}`;
};

/** A limit without a request is a request, as the API server defaults it. */
const requestsOf = (container: CountedContainer): Amounts => {
  const { requests, limits } = container.resources ?? {};
  return Object.fromEntries(
    Object.entries({ ...limits, ...requests }).map(([resource, text]) => [
      resource,
      amountUp(resource, text),
    ]),
  );
};

const combine = (a: Amounts, b: Amounts, join: (x: number, y: number) => number): Amounts => {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return Object.fromEntries([...names].map((name) => [name, join(at(a, name) ?? 0, at(b, name) ?? 0)]));
};
const sum = (a: Amounts, b: Amounts): Amounts => combine(a, b, (x, y) => x + y);
const largest = (a: Amounts, b: Amounts): Amounts => combine(a, b, Math.max);

/**
 * What the pod counts: the sum of its containers and sidecars, or the most that it needs while an init container runs
 * (kubernetes: k8s.io/component-helpers/resource, PodRequests); one of `pods`.
 * @throws {FluviaError} BAD_INPUT for a quantity that is none.
 */
export const podAmounts = (pod: CountedPod): Amounts => {
  let running: Amounts = {};
  for (const container of pod.containers) running = sum(running, requestsOf(container));
  let sidecars: Amounts = {};
  let starting: Amounts = {};
  for (const container of pod.initContainers ?? []) {
    const own = requestsOf(container);
    if (container.restartPolicy === 'Always') {
      sidecars = sum(sidecars, own);
      starting = largest(starting, sidecars);
    } else {
      starting = largest(starting, sum(sidecars, own));
    }
  }
  const needed = largest(sum(running, sidecars), starting);
  // Requests of the pod as a whole replace the sum in Kubernetes; counting the larger can't be used to look smaller.
  return { ...largest(needed, requestsOf({ resources: pod.resources })), pods: 1 };
};

/** The sum of what several pods count. */
export const sumAmounts = (all: Iterable<Amounts>): Amounts => {
  let total: Amounts = {};
  for (const one of all) total = sum(total, one);
  return total;
};

/** `total` without `part`, which it holds; what becomes zero is left out. */
export const subtractAmounts = (total: Amounts, part: Amounts): Amounts =>
  Object.fromEntries(
    Object.entries(combine(total, part, (x, y) => x - y)).filter(([, amount]) => amount !== 0),
  );

/**
 * What is missing for `needed` beside `used`; empty when it fits. A resource that the grant doesn't name is not given at
 * all, but for `pods`, which is then unlimited.
 */
export const shortages = (granted: Amounts, used: Amounts, needed: Amounts): readonly Shortage[] =>
  Object.entries(needed)
    .filter(([resource, amount]) => amount > 0 && !(resource === 'pods' && at(granted, 'pods') === undefined))
    .map(([resource, amount]) => {
      const given = at(granted, resource);
      const free = given === undefined ? undefined : Math.max(0, given - (at(used, resource) ?? 0));
      return { resource, needed: amount, free };
    })
    .filter(({ needed: amount, free }) => free === undefined || amount > free);

/** What is left of `left` where all that the consumer runs here may hold no more than `together`. */
export const leftTogether = (
  left: Amounts,
  together: ResourceList | undefined,
  usedTogether: Amounts,
): Amounts => {
  if (together === undefined) return left;
  const most = amountsGiven(together);
  return Object.fromEntries(
    Object.entries(left).map(([resource, amount]) => {
      const limit = at(most, resource);
      // As in `shortages`: who names no `pods` means any number.
      if (limit === undefined && resource === 'pods') return [resource, amount];
      const all = (limit ?? 0) - (at(usedTogether, resource) ?? 0);
      return [resource, Math.max(0, Math.min(amount, all))];
    }),
  );
};

/** A sentence that says what is missing. */
export const describeShortages = (missing: readonly Shortage[]): string =>
  missing
    .slice(0, 8)
    .map(({ resource, needed, free, ofAll }) =>
      free === undefined
        ? `the grant has no ${resource.slice(0, 100)}`
        : `${ofAll === true ? 'of what all claims of this peer get together, with pods of withdrawn ones, ' : ''}${resource.slice(0, 100)}: ${formatAmount(resource, needed)} needed, ${formatAmount(resource, free)} free`,
    )
    .join('; ');
