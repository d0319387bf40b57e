import { z } from 'zod';
import { ERROR_CODES, FluviaError } from './errors.ts';

/** Kubernetes resource quantity as text (apimachinery `resource.Quantity`), e.g. `500m`, `2Gi`. */
export const QuantityString = z
  .string()
  .max(64)
  .regex(/^\d+(?:\.\d+)?(?:m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?$/);

/** Resource name → quantity. Non-negative. */
export const ResourceList = z.record(z.string().max(253), QuantityString);
export type ResourceList = Readonly<z.infer<typeof ResourceList>>;

const FACTORS: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The quantity in its base unit (cores, bytes, pieces). Throws BAD_INPUT for anything that isn't one. */
export const parseQuantity = (text: string | number): number => {
  const match = /^(\d+(?:\.\d+)?)(m|[kMGTPE]i?|Ki|[eE][+-]?\d+)?$/.exec(String(text));
  const value = Number(match?.[1]);
  const suffix = match?.[2] ?? '';
  const factor =
    suffix === '' ? 1 : /^[eE][+-]?\d+$/.test(suffix) ? 10 ** Number(suffix.slice(1)) : FACTORS[suffix];
  if (!Number.isFinite(value) || factor === undefined || !Number.isFinite(value * factor)) {
    throw new FluviaError(
      ERROR_CODES.BAD_INPUT,
      `"${String(text).slice(0, 64)}" is not a resource quantity`,
      {
        kind: 'terminal',
        hint: 'write e.g. 500m, 2 or 4Gi',
      },
    );
  }
  return value * factor;
};

const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'] as const;

/** Text of a quantity: CPU in millicores where needed, memory and storage in the largest exact binary unit. */
export const formatQuantity = (resource: string, value: number): string => {
  if (resource === 'cpu') {
    const milli = Math.round(value * 1000);
    return milli % 1000 === 0 ? String(milli / 1000) : `${milli}m`;
  }
  let whole = Math.floor(value);
  let unit = 0;
  const binary = resource === 'memory' || resource.endsWith('storage') || resource.startsWith('hugepages-');
  const units = binary ? BINARY.length - 1 : 0;
  while (whole > 0 && whole % 1024 === 0 && unit < units) {
    whole /= 1024;
    unit += 1;
  }
  return `${whole}${BINARY[unit] ?? ''}`;
};

/** Sums, per resource name, of numbers in base units. */
export const addResources = (
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> => {
  const sum: Record<string, number> = { ...a };
  for (const [name, value] of Object.entries(b)) {
    sum[name] = (sum[name] ?? 0) + value;
  }
  return sum;
};

/** A list of quantities in base units. */
export const parseResources = (list: ResourceList | undefined): Record<string, number> =>
  Object.fromEntries(Object.entries(list ?? {}).map(([name, text]) => [name, parseQuantity(text)]));

/** The text form of resources in base units. */
export const formatResources = (values: Readonly<Record<string, number>>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, formatQuantity(name, value)]));
