import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  customResourceDefinition,
  openApiSchema,
  toStructural,
  type StructuralSchema,
} from './structural.ts';
import { KINDS } from './v1alpha1/kinds.ts';

/** Every schema in it, with its path. */
const walk = (schema: StructuralSchema, path: string): readonly (readonly [string, StructuralSchema])[] => [
  [path, schema],
  ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => walk(inner, `${path}.${name}`)),
  ...(schema.items === undefined ? [] : walk(schema.items, `${path}[]`)),
  ...(schema.additionalProperties === undefined ? [] : walk(schema.additionalProperties, `${path}.*`)),
];

const all = KINDS.flatMap((kind) => walk(openApiSchema(kind), kind.kind));
/** `metadata`, `kind` and `apiVersion` are the API server's own. */
const own = all.filter(([path]) => /\.(?:spec|status)\b/.test(path));

describe('the CRDs of all kinds', () => {
  it('are structural: typed everywhere, no reference, union or additionalProperties beside properties', () => {
    const bad = all.filter(
      ([, s]) =>
        (s.type === undefined && s['x-kubernetes-preserve-unknown-fields'] !== true) ||
        Object.keys(s).some((k) =>
          ['$ref', 'anyOf', 'oneOf', 'allOf', 'not', '$schema', 'const'].includes(k),
        ) ||
        (s.properties !== undefined && 'additionalProperties' in s),
    );
    expect(bad).toEqual([]);
  });

  it('bound every string, list and map, so that CEL rules have a known cost', () => {
    const unbounded = own.filter(
      ([, s]) =>
        (s.type === 'string' && s.maxLength === undefined && s.enum === undefined) ||
        (s.type === 'array' && s.maxItems === undefined) ||
        (s.additionalProperties !== undefined && s.maxProperties === undefined),
    );
    expect(unbounded.map(([path]) => path)).toEqual([]);
  });

  it('name map keys that their items require', () => {
    for (const [, s] of all.filter(([, s]) => s['x-kubernetes-list-type'] === 'map')) {
      expect(s.items?.required).toEqual(expect.arrayContaining([...(s['x-kubernetes-list-map-keys'] ?? [])]));
    }
  });

  it('have defaults that their own schema accepts', () => {
    const refused = KINDS.flatMap((kind) => {
      const shape = (kind.spec as z.ZodObject).shape;
      return Object.entries(openApiSchema(kind).properties?.['spec']?.properties ?? {})
        .filter(([, property]) => property.default !== undefined)
        .filter(([name, property]) => !(shape[name] as z.ZodType).safeParse(property.default).success)
        .map(([name]) => `${kind.kind}.${name}`);
    });
    expect(refused).toEqual([]);
  });

  it('carry names, the status subresource, the category and an Age column', () => {
    for (const kind of KINDS) {
      const crd = customResourceDefinition(kind);
      expect(crd.metadata.name).toBe(`${kind.plural}.fluvia.dev`);
      expect(crd.spec.names).toMatchObject({ kind: kind.kind, categories: ['fluvia'] });
      expect(crd.spec.versions[0]?.subresources).toEqual({ status: {} });
      expect(crd.spec.versions[0]?.additionalPrinterColumns.at(-1)).toMatchObject({ name: 'Age' });
    }
  });

  it('have names and short names that no two kinds share', () => {
    const names = KINDS.flatMap((kind) => [
      kind.plural,
      kind.kind.toLowerCase(),
      ...kind.shortNames.filter((n) => n !== kind.kind.toLowerCase()),
    ]);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('toStructural', () => {
  it('keeps bounds, enums, defaults and extensions, and drops what zod adds of its own', () => {
    const schema = z.object({
      a: z.string().max(3).regex(/^x/).default('x'),
      b: z.number().int(),
      c: z
        .array(z.enum(['p', 'q']))
        .max(2)
        .meta({ 'x-kubernetes-list-type': 'set' }),
      d: z.record(z.string(), z.number().int().min(0)),
      e: z.record(z.string(), z.unknown()).meta({ 'x-kubernetes-preserve-unknown-fields': true }),
    });
    expect(toStructural(schema)).toEqual({
      type: 'object',
      required: ['b', 'c', 'd', 'e'],
      properties: {
        a: { type: 'string', maxLength: 3, pattern: '^x', default: 'x' },
        b: { type: 'integer' },
        c: {
          type: 'array',
          maxItems: 2,
          items: { type: 'string', enum: ['p', 'q'] },
          'x-kubernetes-list-type': 'set',
        },
        d: { type: 'object', additionalProperties: { type: 'integer', minimum: 0 }, maxProperties: 4096 },
        e: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      },
    });
  });

  it.each([
    ['unions', z.object({ a: z.union([z.string(), z.number()]) })],
    ['nullable fields', z.object({ a: z.string().nullable() })],
    ['values of any type', z.object({ a: z.unknown() })],
    ['maps of anything without the mark', z.object({ a: z.record(z.string(), z.unknown()) })],
  ])('refuses %s and names the field', (_, schema) => {
    expect(() => toStructural(schema, 'Kind.spec')).toThrow(/^Kind\.spec\.a/);
  });

  it('does not refuse strict objects, which prune anyway', () => {
    expect(toStructural(z.strictObject({ a: z.string().max(1) }))).not.toHaveProperty('additionalProperties');
  });

  it('accepts the same strings as zod where bounds and patterns are concerned', () => {
    const schema = z
      .string()
      .min(2)
      .max(4)
      .regex(/^[a-z]+$/);
    const structural = toStructural(schema);
    fc.assert(
      fc.property(fc.string({ maxLength: 6 }), (text) => {
        const here =
          text.length >= (structural.minLength ?? 0) &&
          text.length <= (structural.maxLength ?? 0) &&
          new RegExp(structural.pattern ?? '', 'u').test(text);
        expect(here).toBe(schema.safeParse(text).success);
      }),
    );
  });
});
