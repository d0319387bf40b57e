import { z } from 'zod';
import type { CelRule, KindDefinition } from './define-kind.ts';
import { GROUP, VERSION } from './labels.ts';

/** A structural OpenAPI v3 schema, as `apiextensions.k8s.io/v1` takes it. */
export interface StructuralSchema {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly required?: readonly string[];
  readonly items?: StructuralSchema;
  readonly additionalProperties?: StructuralSchema;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
}

/** A CustomResourceDefinition, as far as Fluvia fills it in. */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly group: string;
    readonly scope: 'Cluster' | 'Namespaced';
    readonly names: Readonly<Record<string, string | readonly string[]>>;
    readonly versions: readonly {
      readonly name: string;
      readonly served: true;
      readonly storage: true;
      readonly schema: { readonly openAPIV3Schema: StructuralSchema };
      readonly subresources: { readonly status: Record<string, never> };
      readonly additionalPrinterColumns: readonly object[];
    }[];
  };
}

/** Most entries of a map: zod's records have no bound of their own, and Kubernetes wants one of everything. */
export const MAX_PROPERTIES = 4096;

/** Keywords that mean the same in JSON Schema (draft of OpenAPI 3.0) and in a structural schema. */
const KEPT = [
  'type',
  'description',
  'enum',
  'default',
  'pattern',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'required',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
] as const;

type Json = Readonly<Record<string, unknown>>;

const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const refuse = (path: string, what: string): never => {
  throw new TypeError(`${path}: ${what} has no structural form; express it by fields and CEL rules`);
};

/** zod bounds every integer by what a double can hold; that isn't part of the contract. */
const isMeaningfulBound = (value: unknown): value is number =>
  typeof value === 'number' && Math.abs(value) < Number.MAX_SAFE_INTEGER;

const convert = (input: unknown, path: string): StructuralSchema => {
  if (!isJson(input)) {
    return refuse(path, 'a schema that is not an object');
  }
  for (const keyword of ['$ref', 'anyOf', 'oneOf', 'allOf', 'not', 'const', 'nullable']) {
    if (keyword in input) {
      refuse(path, keyword);
    }
  }
  const output: Record<string, unknown> = {};
  for (const keyword of KEPT) {
    if (input[keyword] !== undefined) {
      output[keyword] = input[keyword];
    }
  }
  for (const bound of ['minimum', 'maximum'] as const) {
    if (isMeaningfulBound(input[bound])) {
      output[bound] = input[bound];
    }
  }
  const freeForm = input['x-kubernetes-preserve-unknown-fields'] === true;
  if (isJson(input['properties'])) {
    output['properties'] = Object.fromEntries(
      Object.entries(input['properties']).map(([name, inner]) => [name, convert(inner, `${path}.${name}`)]),
    );
  } else if (isJson(input['additionalProperties']) && !freeForm) {
    output['additionalProperties'] = convert(input['additionalProperties'], `${path}.*`);
    output['maxProperties'] = MAX_PROPERTIES;
  }
  if (input['items'] !== undefined) {
    output['items'] = convert(input['items'], `${path}[]`);
  }
  if (output['type'] === undefined && !freeForm) {
    refuse(path, 'a value of any type');
  }
  return output;
};

/**
 * The structural form of a zod schema: what a client may send (defaults are optional). Throws TypeError, naming the
 * field, for what a structural schema can't say.
 */
export const toStructural = (schema: z.ZodType, path = 'schema'): StructuralSchema =>
  convert(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', unrepresentable: 'throw' }), path);

const withRules = (schema: StructuralSchema, rules: readonly CelRule[] | undefined): StructuralSchema =>
  rules === undefined || rules.length === 0 ? schema : { ...schema, 'x-kubernetes-validations': rules };

/** The schema of a whole object. A spec of which nothing is required may be left out. */
export const openApiSchema = (definition: KindDefinition): StructuralSchema => {
  const spec = withRules(toStructural(definition.spec, `${definition.kind}.spec`), definition.rules);
  const status = toStructural(definition.status, `${definition.kind}.status`);
  const needsSpec = spec.required !== undefined && spec.required.length > 0;
  const schema: StructuralSchema = {
    description: definition.description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: needsSpec ? spec : { ...spec, default: {} },
      status,
    },
  };
  return withRules(schema, definition.objectRules);
};

const shortNames = (definition: KindDefinition): { readonly shortNames?: readonly string[] } => {
  const names = definition.shortNames.filter((name) => name !== definition.kind.toLowerCase());
  return names.length === 0 ? {} : { shortNames: names };
};

/** The CRD of a kind: the only place where one is made. */
export const customResourceDefinition = (definition: KindDefinition): CustomResourceDefinition => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: `${definition.plural}.${GROUP}`,
    labels: { 'app.kubernetes.io/name': 'fluvia', 'app.kubernetes.io/part-of': 'fluvia' },
  },
  spec: {
    group: GROUP,
    scope: definition.scope,
    names: {
      kind: definition.kind,
      listKind: `${definition.kind}List`,
      plural: definition.plural,
      singular: definition.kind.toLowerCase(),
      // a short name that equals the singular would be refused as taken
      ...shortNames(definition),
      categories: ['fluvia'],
    },
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        schema: { openAPIV3Schema: openApiSchema(definition) },
        subresources: { status: {} },
        additionalPrinterColumns: definition.columns.map(
          ({ name, type, jsonPath, description, priority }) => ({
            name,
            type,
            jsonPath,
            ...(description === undefined ? {} : { description }),
            ...(priority === undefined ? {} : { priority }),
          }),
        ),
      },
    ],
  },
});
