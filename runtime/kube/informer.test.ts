import { describe, expect, it } from 'vitest';

import { createFakeClock, settle, type FakeClock } from '../clock.fake.ts';
import type { KubeClient, KubeList, WatchEvent, WatchOptions } from './client.ts';
import { ApiError } from './errors.ts';
import { createInformer, type Informer } from './informer.ts';
import { CONFIG_MAP } from './resources.ts';
import type { ConfigMap } from './types.ts';

const map = (name: string, version: number): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'ns', uid: name, resourceVersion: String(version) },
});

const refuse = (status: number, reason = 'x'): ApiError => new ApiError({ status, reason, message: reason });

type Script = (options: WatchOptions) => AsyncIterable<WatchEvent<ConfigMap>>;

/** A server whose lists and watches follow a script; after its end, watches stay open and silent. */
const setUp = (lists: readonly (KubeList<ConfigMap> | ApiError)[], watches: readonly Script[]) => {
  const clock: FakeClock = createFakeClock();
  const asked: string[] = [];
  let listed = 0;
  let watched = 0;
  const methods = {
    list: () => {
      asked.push(`list@${clock.monotonicMs()}`);
      const answer = lists[Math.min(listed, lists.length - 1)];
      listed += 1;
      return answer instanceof ApiError ? Promise.reject(answer) : Promise.resolve(answer);
    },
    watch: (_: unknown, options: WatchOptions) => {
      asked.push(`watch ${options.resourceVersion}`);
      const script = watches[watched];
      watched += 1;
      return (script ?? quiet)(options);
    },
  };
  const stop = new AbortController();
  const informer: Informer<ConfigMap> = createInformer<ConfigMap>({
    client: methods as unknown as KubeClient,
    resource: CONFIG_MAP,
    clock,
  });
  const lines: string[] = [];
  informer.onChange((change) => lines.push(`${change.type} ${change.object.metadata.name}`));
  informer.start(stop.signal);
  return { clock, asked, informer, lines, stop: () => stop.abort(new Error('stop')) };
};

const quiet: Script = async function* (options) {
  await new Promise((resolve) => options.signal.addEventListener('abort', resolve));
  yield* [];
};

const events = (...all: readonly WatchEvent<ConfigMap>[]): Script =>
  async function* (options) {
    yield* all;
    yield* quiet(options);
  };

const ends = (...all: readonly WatchEvent<ConfigMap>[]): Script =>
  async function* () {
    await Promise.resolve();
    yield* all;
  };

const bookmark = (version: number): WatchEvent<ConfigMap> => ({ type: 'BOOKMARK', object: map('', version) });

describe('informer', () => {
  it('follows events after one list, in order', async () => {
    const { asked, informer, lines, stop } = setUp(
      [{ items: [map('a', 1)], resourceVersion: '5' }],
      [
        events(
          { type: 'ADDED', object: map('b', 6) },
          { type: 'MODIFIED', object: map('a', 7) },
          { type: 'DELETED', object: map('b', 8) },
        ),
      ],
    );
    await informer.whenSynced();
    await settle();
    expect(lines).toEqual(['added a', 'added b', 'updated a', 'deleted b']);
    expect(asked).toEqual(['list@0', 'watch 5']);
    expect(informer.get('ns', 'a')?.metadata.resourceVersion).toBe('7');
    stop();
  });

  it('resumes a closed watch where the last bookmark was, without a list', async () => {
    const { clock, asked, informer, stop } = setUp(
      [{ items: [], resourceVersion: '5' }],
      [ends(bookmark(40))],
    );
    await informer.whenSynced();
    await clock.advance(2000);
    expect(asked).toEqual(['list@0', 'watch 5', 'watch 40']);
    expect(informer.counters()).toMatchObject({ lists: 1, relists: 0, bookmarks: 1 });
    stop();
  });

  it.each([
    ['an ERROR event', ends({ type: 'ERROR', object: { code: 410, reason: 'Expired', message: 'too old' } })],
    ['the answer 410', (() => failing(refuse(410, 'Expired'))) satisfies Script],
    ['data that cannot be read', (() => failing(refuse(0, 'BadWatchData'))) satisfies Script],
  ])('lists anew after %s, and tells deletions it missed', async (_what, script) => {
    const { clock, asked, informer, lines, stop } = setUp(
      [
        { items: [map('a', 1), map('b', 2)], resourceVersion: '5' },
        { items: [map('a', 1), map('c', 60)], resourceVersion: '60' },
      ],
      [script],
    );
    await informer.whenSynced();
    await clock.advance(1000);
    expect(lines).toEqual(['added a', 'added b', 'deleted b', 'added c']);
    expect(asked.filter((line) => line.startsWith('watch'))).toEqual(['watch 5', 'watch 60']);
    expect(informer.counters().relists).toBe(1);
    stop();
  });

  it('keeps trying a failing list with growing pauses of at most 30 s, and syncs when it works', async () => {
    const { clock, asked, informer, stop } = setUp(
      [
        ...Array.from({ length: 12 }, () => refuse(0, 'Unreachable')),
        { items: [map('a', 1)], resourceVersion: '5' },
      ],
      [],
    );
    await clock.advance(400_000);
    expect(informer.hasSynced()).toBe(true);
    const times = asked.filter((line) => line.startsWith('list')).map((line) => Number(line.split('@')[1]));
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(pauses[0]).toBeLessThanOrEqual(800);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(30_000);
    expect(Math.min(...pauses.slice(6))).toBeGreaterThan(14_000);
    stop();
  });

  it('does not ask in a busy loop when the server ends each watch at once', async () => {
    const { clock, asked, stop } = setUp(
      [{ items: [], resourceVersion: '5' }],
      Array.from({ length: 1000 }, () => ends()),
    );
    await clock.advance(60_000);
    expect(asked.length).toBeLessThan(12);
    stop();
  });

  it('waiting for the sync ends with the signal', async () => {
    const { informer, stop } = setUp([refuse(403, 'Forbidden')], []);
    const leave = new AbortController();
    const waiting = informer.whenSynced(leave.signal);
    leave.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    stop();
  });
});

async function* failing(error: ApiError): AsyncGenerator<WatchEvent<ConfigMap>> {
  await Promise.reject(error);
  yield* [];
}
