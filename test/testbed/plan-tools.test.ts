import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryRoot } from './paths.ts';
import { requiredVersion, TOOLS, versionFits } from './plan-tools.ts';

describe('tools', () => {
  it.each(Object.values(TOOLS))('pins $name by a go.mod of its own', ({ name, module }) => {
    const goMod = readFileSync(join(repositoryRoot, 'test/testbed/go', name, 'go.mod'), 'utf8');
    expect(requiredVersion(goMod, module)).toMatch(/^v\d+\.\d+\.\d+/);
  });

  it.each([
    ['Kubernetes v1.37.2', 'v1.37.2', true],
    ['containerd github.com/containerd/containerd/v2 2.4.2 abc', 'v2.4.2', true],
    ['runc version 1.5.2\nspec: 1.3.0', 'v1.5.2', true],
    ['Kubernetes v1.37.20', 'v1.37.2', false],
    ['Kubernetes v11.37.2', 'v1.37.2', false],
    ['runc version 1.1.5', 'v1.5.2', false],
  ])('judges %j against %s: %s', (said, wanted, fits) => {
    expect(versionFits(said, wanted)).toBe(fits);
  });
});
