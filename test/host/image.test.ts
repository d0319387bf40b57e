import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureFluviaImage, stageFluviaRoot } from '../../deploy/image/build.ts';
import { entriesBelow } from '../../deploy/image/tar.ts';
import { run, tryRun } from '../testbed/exec.ts';

/** The image as it is loaded into nodes, and the same by the Dockerfile. */

let room = '';
let root = '';
let archive = '';

beforeAll(async () => {
  room = mkdtempSync(join(tmpdir(), 'fluvia-image-'));
  root = join(room, 'root');
  ({ archive } = await ensureFluviaImage((line) => console.log(line)));
  await stageFluviaRoot(root);
});
afterAll(() => rmSync(room, { recursive: true, force: true }));

const inImage = (...argv: readonly string[]) => tryRun('chroot', [root, ...argv]);

describe('the Fluvia image', () => {
  it('holds the same files by the Dockerfile as in the archive', async () => {
    const docker = readFileSync('deploy/image/Dockerfile', 'utf8')
      .split('\n')
      .filter((l) => /^[A-Z]/.test(l));
    expect(docker).toEqual(['FROM scratch', 'COPY root/ /', 'ENTRYPOINT ["/bin/fluviad"]']);
    const outer = await run('tar', ['-xf', archive, '-C', room]);
    expect(outer).toBe('');
    const index = JSON.parse(readFileSync(join(room, 'index.json'), 'utf8')) as {
      manifests: { digest: string }[];
    };
    const blob = (digest: string): string => join(room, 'blobs/sha256', digest.replace('sha256:', ''));
    const manifest = JSON.parse(readFileSync(blob(index.manifests[0]?.digest ?? ''), 'utf8')) as {
      layers: { digest: string }[];
    };
    const listed = await run('tar', ['-tf', blob(manifest.layers[0]?.digest ?? '')]);
    const layer = listed
      .trimEnd()
      .split('\n')
      .map((path) => path.replace(/\/$/, ''))
      .sort();
    expect(layer).toEqual(
      entriesBelow(root)
        .map((entry) => entry.path)
        .sort(),
    );
  });

  it.each([
    ['/bin/node', '--version'],
    ['/bin/wg', '--version'],
    ['/bin/nft', '--version'],
    ['/bin/ip', '-V'],
    ['/bin/bridge', '-V'],
    ['/bin/conntrack', '-V'],
    ['/bin/wireguard-go', '--version'],
    ['/bin/sh', '-n', '/opt/fluvia/wireguard-go.sh'],
    ['/bin/fluviad', 'ctl', 'version', '--client'],
  ])('runs %s by itself, with its own libraries', async (...argv) => {
    const { code, stderr } = await inImage(...argv);
    expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
  });

  it('starts its roles and says what is missing outside a pod', async () => {
    for (const role of ['agent', 'controller']) {
      const { code, stdout } = await inImage('/bin/fluviad', role);
      expect(code).toBe(1);
      expect(stdout).toMatch(/the environment has no (?:NODE|POD)_NAME/);
    }
    expect((await inImage('/bin/fluviad', 'other')).code).toBe(2);
  });

  it('can be read by a user without rights', () => {
    const closed = entriesBelow(root).filter((e) => e.type !== 'symlink' && (e.mode & 0o004) === 0);
    expect(closed.map((e) => e.path)).toEqual([]);
  });
});
