import type { KindDefinition } from '../../api/define-kind.ts';
import { API_VERSION } from '../../api/labels.ts';
import { openApiSchema, type StructuralSchema } from '../../api/structural.ts';
import { toYaml } from '../yaml.ts';
import { EXAMPLES } from './examples.ts';

/** Markdown of the pages under `docs/spec/`, made from the same definitions as the CRDs. */

const typeOf = (schema: StructuralSchema): string => {
  if (schema.type === 'array') {
    const item = typeOf(schema.items ?? {});
    return item.includes(' ') ? `[](${item})` : `[]${item}`;
  }
  if (schema.additionalProperties !== undefined) {
    return `map of ${typeOf(schema.additionalProperties)}`;
  }
  return schema.enum === undefined ? (schema.type ?? 'object') : schema.enum.map(String).join(' \\| ');
};

const boundsOf = (schema: StructuralSchema): string => {
  const range = (low: number | undefined, high: number | undefined, unit: string): string[] =>
    low === undefined && high === undefined
      ? []
      : [`${low === high ? low : `${low ?? 0}…${high ?? ''}`} ${unit}`.trim()];
  const item = schema.items;
  return [
    ...range(schema.minimum, schema.maximum, ''),
    ...range(schema.minItems, schema.maxItems, 'items'),
    ...(schema.enum === undefined ? range(schema.minLength, schema.maxLength, 'characters') : []),
    ...(item?.maxLength === undefined ? [] : [`each ≤ ${item.maxLength} characters`]),
  ].join(', ');
};

const rowsOf = (schema: StructuralSchema, prefix: string): readonly string[] =>
  Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const required = schema.required?.includes(name) === true;
    const fallback = field.default === undefined ? '' : `\`${JSON.stringify(field.default)}\``;
    const row = `| \`${path}\` | ${typeOf(field)} | ${required ? 'yes' : fallback} | ${boundsOf(field)} | ${field.description ?? ''} |`;
    const inner = field.items ?? field;
    return [row, ...rowsOf(inner, field.items === undefined ? `${path}.` : `${path}[].`)];
  });

const table = (schema: StructuralSchema | undefined): readonly string[] => [
  '| Field | Type | Required or default | Bounds | Meaning |',
  '|---|---|---|---|---|',
  ...rowsOf(schema ?? {}, ''),
];

/** Path of a kind's page from the root of the repository. */
export const specPagePath = (definition: KindDefinition): string =>
  `docs/spec/${definition.kind.replaceAll(/(?<!^)([A-Z])/g, '-$1').toLowerCase()}.md`;

/** The page of one kind. Throws when the kind has no example. */
export const specPage = (definition: KindDefinition): string => {
  const schema = openApiSchema(definition);
  const example = EXAMPLES[definition.kind];
  if (example === undefined) {
    throw new TypeError(`${definition.kind} has no example in deploy/spec/examples.ts`);
  }
  const rules = [...(definition.objectRules ?? []), ...(definition.rules ?? [])];
  return [
    `<!-- Made by \`npm run gen\` from api/v1alpha1: edit the schema, not this page. -->`,
    `# ${definition.kind}`,
    '',
    definition.description,
    '',
    `| | |`,
    `|---|---|`,
    `| API | \`${API_VERSION}\`, \`${definition.plural}\`${definition.shortNames.map((n) => ` (\`${n}\`)`).join('')} |`,
    `| Scope | ${definition.scope} |`,
    `| Written by | ${example.writtenBy} |`,
    `| Columns | ${definition.columns.map((c) => c.name + (c.priority === 1 ? ' (wide)' : '')).join(', ')} |`,
    '',
    '```yaml',
    toYaml({
      apiVersion: API_VERSION,
      kind: definition.kind,
      metadata: example.metadata,
      spec: example.spec,
    }).trimEnd(),
    '```',
    '',
    '## Spec',
    '',
    ...table(schema.properties?.['spec']),
    ...(rules.length === 0
      ? []
      : ['', '## Rules', '', ...rules.map(({ rule, message }) => `- ${message}: \`${rule}\``)]),
    '',
    '## Status',
    '',
    ...table(schema.properties?.['status']),
    '',
  ].join('\n');
};
