import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { createRepository, type Repository } from './repository.ts';
import { newConfig, repositoryKey } from './restic-files.ts';
import { seal, unseal } from './restic-seal.ts';

const KEY = 'a key of home for this volume, 32 or more';
const TREE = 'a'.repeat(64);

/** A front that holds files, takes one config, and may lose an answer; restic knows of every snapshot that it has tree `b…`. */
const fakeStore = () => {
  const files = new Map<string, Buffer>();
  const state = { dies: undefined as string | undefined, losesAnswer: false };
  const store = {
    readFile: (name: string) => Promise.resolve(files.get(name)),
    writeFile: (name: string, body: Buffer) => {
      if (name.startsWith(state.dies ?? '-')) return Promise.reject(new Error('killed'));
      const isTaken = name === 'config' && files.has(name);
      if (!isTaken) files.set(name, body);
      if (isTaken || state.losesAnswer)
        return Promise.reject(new FluviaError(ERROR_CODES.FORBIDDEN, 'the repository has a config already'));
      return Promise.resolve();
    },
  };
  const restic = { snapshot: () => Promise.resolve({ tree: 'b'.repeat(64) }) };
  const open = (key = KEY): Repository => createRepository(store, restic, key);
  return { files, state, open };
};

describe('the repository of a volume', () => {
  it('is made once, whenever the one who makes it dies', async () => {
    for (const dies of [undefined, 'keys/', 'config']) {
      const { files, state, open } = fakeStore();
      state.dies = dies;
      await open()
        .ensure()
        .catch(() => undefined);
      state.dies = undefined;
      await open().ensure();
      const made = new Map(files);
      await open().ensure();
      expect(files).toEqual(made);
      const { file, master } = repositoryKey(KEY);
      expect([...files.keys()].sort()).toEqual(['config', `keys/${file.name}`]);
      expect(unseal(master, files.get('config') ?? Buffer.alloc(0)).toString()).toContain('"version":2');
    }
  });

  it('is there when another was first, and when the answer got lost', async () => {
    const { files, state, open } = fakeStore();
    state.losesAnswer = true;
    files.set(`keys/${repositoryKey(KEY).file.name}`, repositoryKey(KEY).file.body);
    await expect(open().ensure()).rejects.toThrow(/has a config already/);
    state.losesAnswer = false;
    await Promise.all([open().ensure(), open().ensure()]);
    expect(files.size).toBe(2);
  });

  it('is left as it is when restic made it', async () => {
    const { files, open } = fakeStore();
    files.set('config', newConfig(repositoryKey('of another master key')));
    const before = new Map(files);
    await open().ensure();
    expect(files).toEqual(before);
  });

  it('tells the tree of a snapshot itself where it has the key, and asks restic where not', async () => {
    const { files, open } = fakeStore();
    const body = seal(repositoryKey(KEY).master, Buffer.from(JSON.stringify({ tree: TREE })));
    const id = createHash('sha256').update(body).digest('hex');
    files.set(`snapshots/${id}`, body);
    expect(await open().snapshot(id)).toEqual({ tree: TREE });
    expect(await open('another key').snapshot(id)).toEqual({ tree: 'b'.repeat(64) });
    expect(await open().snapshot('c'.repeat(64))).toEqual({ tree: 'b'.repeat(64) });
    files.set(`snapshots/${'d'.repeat(64)}`, body);
    await expect(open().snapshot('d'.repeat(64))).rejects.toThrow(/another content/);
  });
});
