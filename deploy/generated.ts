import { KINDS } from '../api/v1alpha1/kinds.ts';
import { customResourceDefinition } from '../api/structural.ts';
import { agentPodSpec } from './manifests/agent.ts';
import { specPage, specPagePath } from './spec/page.ts';
import { toYaml } from './yaml.ts';

/** Every file that is made from the code and committed: path from the root → content. */
export const generatedFiles = (): ReadonlyMap<string, string> =>
  new Map([
    ...KINDS.map((kind): readonly [string, string] => [
      `deploy/crds/${kind.plural}.yaml`,
      `# Made by \`npm run gen\` from api/v1alpha1: edit the schema, not this file.\n${toYaml(customResourceDefinition(kind))}`,
    ]),
    ...KINDS.map((kind): readonly [string, string] => [specPagePath(kind), specPage(kind)]),
    [
      'deploy/agent.golden.yaml',
      `# The agent's pod, for review: the only privileged part of Fluvia. Made by \`npm run gen\` from deploy/manifests/agent.ts.\n${toYaml(agentPodSpec('fluvia.local/fluvia'))}`,
    ],
  ]);
