/**
 * A database's life on real clusters, told in order: its volume is made at a peer, copied to another, moved there by hand,
 * lost with that peer, taken over from the copy, moved back when the peer has returned, and deleted everywhere.
 */
import { expect } from 'vitest';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { cordonPeer } from '../support/fabric.ts';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import { applyObjects } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { CLAIM, database, expectWhole, openLedger, ROWS_PER_SECOND, type Row } from './ledger.ts';

export interface VolumeStory {
  readonly testbed: Testbed;
  readonly home: string;
  /** Peer where the volume is made. Both peers have a store and are peered with home and with each other. */
  readonly source: string;
  readonly target: string;
  /** How the peer that holds the volume is lost: `partition` leaves its writer running, `kill` is a power cut. */
  readonly how: 'partition' | 'kill';
  /** Seconds, written into VolumeReplica and FloatPolicy. */
  readonly times: {
    readonly interval: number;
    readonly lease: number;
    readonly stop: number;
    readonly hysteresis: number;
    readonly grace: number;
  };
  readonly report: (line: string) => void;
}

/** What a run showed, seconds. */
export interface VolumeFigures {
  created: number;
  copied: number;
  moved: number;
  failedOver: number;
  /** Rows acknowledged before the loss that the surviving line lacks. */
  rowsLost: number;
  /** From the cut of the point that was restored until the loss. */
  ageAtLoss: number;
  returned: number;
  movedBack: number;
  deleted: number;
}

/** For a run of its own. */
export const FULL_TIMES = { interval: 10, lease: 20, stop: 15, hysteresis: 5, grace: 30 } as const;
/** The same within `npm test`. */
export const REDUCED_TIMES = { interval: 10, lease: 6, stop: 6, hysteresis: 2, grace: 4 } as const;

const NAMESPACE = 'ledger';

type ReplicaStatus = NonNullable<VolumeReplica['status']>;

const seconds = (ms: number): number => Math.round(ms / 100) / 10;

/** The story's chapters; each stands on the ones before it. */
export const volumeStory = (story: VolumeStory) => {
  const { testbed, home, source, target, times, how, report } = story;
  const figures: Partial<VolumeFigures> = {};
  /** Newest rows that were seen, by which what comes later is judged. */
  let before: readonly Row[] = [];

  const ledger = openLedger(testbed, home, NAMESPACE);
  const { ours, rows } = ledger;
  const writesAt = (peer: string, timeoutMs: number): Promise<readonly Row[]> =>
    ledger.writesAt(peer, before, timeoutMs);
  const replica = async (): Promise<ReplicaStatus> =>
    (JSON.parse(await ours('get', 'volumereplica', 'db', '-o', 'json')) as { status?: ReplicaStatus })
      .status ?? {};
  const pointsAt = async (peer: string): Promise<readonly RecoveryPoint[]> =>
    ((await replica()).points ?? []).filter((point) => point.peer === peer && point.salvage !== true);
  const others = testbed.clusters.map(({ name }) => name).filter((name) => name !== target);

  return {
    figures,

    /** A volume is made where its first pod lands, by that cluster's own provisioner. */
    async create(): Promise<void> {
      await applyObjects(testbed, home, [
        {
          apiVersion: 'fluvia.dev/v1alpha1',
          kind: 'FloatPolicy',
          metadata: { name: 'default' },
          spec: {
            hysteresisSeconds: times.hysteresis,
            graceSeconds: times.grace,
            leaseSeconds: times.lease,
            stopSeconds: times.stop,
          },
        },
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
      ]);
      await fluviactl([
        'offload',
        'namespace',
        NAMESPACE,
        '--kubeconfig',
        testbed.kubeconfigPath(home),
        '--strategy',
        'remote',
      ]);
      await cordonPeer(testbed, home, target, true);
      const began = Date.now();
      try {
        await applyObjects(testbed, home, [
          database(NAMESPACE),
          {
            apiVersion: 'fluvia.dev/v1alpha1',
            kind: 'VolumeReplica',
            metadata: { name: 'db', namespace: NAMESPACE },
            spec: { claimName: CLAIM, peers: [source, target], intervalSeconds: times.interval },
          },
        ]);
        before = await writesAt(source, 90_000);
      } finally {
        await cordonPeer(testbed, home, target, false);
      }
      figures.created = seconds(Date.now() - began);
      report(`volume: made at ${source}, its pod writes after ${figures.created} s`);
      expect((await ledger.volume()).metadata.annotations['fluvia.dev/location']).toBe(source);
      expect(
        await testbed.kubectl(source, [
          'get',
          'pvc',
          '-n',
          NAMESPACE,
          CLAIM,
          '-o',
          'jsonpath={.status.phase}',
        ]),
      ).toBe('Bound');
    },

    /** Copies go to the other peer's store, from filesystem snapshots. */
    async copy(): Promise<void> {
      const began = Date.now();
      const points = await eventually(
        `two points at ${target}`,
        async () => {
          const found = await pointsAt(target);
          return found.length >= 2 ? found : undefined;
        },
        90_000,
      );
      figures.copied = seconds(Date.now() - began);
      report(`volume: two points at ${target} after ${figures.copied} s more`);
      expect(points.map(({ consistency }) => consistency)).toEqual(points.map(() => 'FilesystemSnapshot'));
      // the very first copy, of a volume that may still be empty, is one of them
      expect(points.at(-1)?.sequence).toBe(1);
    },

    /** A planned move loses no row. */
    async move(): Promise<void> {
      before = await rows();
      const began = Date.now();
      expect(await ledger.move(target)).toContain(`The volume is at ${target}`);
      const after = await writesAt(target, 60_000);
      figures.moved = seconds(Date.now() - began);
      report(`volume: moved to ${target}, its pod writes there after ${figures.moved} s`);
      expect(after.length).toBeGreaterThan(before.length);
      expectWhole(after);
    },

    /** The peer that holds the volume is lost: the pod goes on at the other one, from its freshest point. */
    async lose(): Promise<void> {
      // The writer that is lost: what the copy has of it tells how much is.
      const written = await rows();
      const begun = written.find(({ writer }) => writer === written.at(-1)?.writer)?.at ?? Infinity;
      const [copy] = await eventually(
        `a point at ${source} with rows of the writer at ${target}`,
        async () => {
          const found = await pointsAt(source);
          return Date.parse(found[0]?.cutAt ?? '') > (begun + 1) * 1000 ? found : undefined;
        },
        90_000,
      );
      expect(copy?.bytesScanned).toBeGreaterThan(0);
      expect(copy?.consistency).toBe('FilesystemSnapshot');
      const { lastAttemptAt = '' } = await replica();
      const flight = Date.parse(lastAttemptAt) - Date.parse((await pointsAt(source))[0]?.cutAt ?? '');
      before = await rows();
      const lostAt = Date.now();
      if (how === 'kill') await testbed.kill(target);
      else for (const name of others) await testbed.partition(name, target);
      const after = await writesAt(source, 180_000);
      figures.failedOver = seconds(Date.now() - lostAt);
      expectWhole(after);
      const restored = after.findLast(({ writer }) => writer === before.at(-1)?.writer);
      figures.rowsLost = (before.at(-1)?.n ?? 0) - (restored?.n ?? 0);
      const end = JSON.parse(
        (await ledger.volume()).metadata.annotations['fluvia.dev/last-move'] ?? '{}',
      ) as {
        kind?: string;
        cutAt?: string;
        message?: string;
      };
      expect(end.kind).toBe('failover');
      figures.ageAtLoss = seconds(lostAt - Date.parse(end.cutAt ?? ''));
      report(
        `volume: ${target} lost (${how}); ${source} writes after ${figures.failedOver} s, ${figures.rowsLost} rows are lost, ` +
          `the copy was ${figures.ageAtLoss} s old: ${end.message ?? ''}`,
      );
      expect(restored).toBeDefined();
      const most = (times.interval + flight / 1000 + 2) * ROWS_PER_SECOND;
      expect(figures.rowsLost).toBeLessThanOrEqual(most);
      const { conditions = [] } = await replica();
      const moved = conditions.find(({ type }) => type === 'Moved');
      expect(moved?.reason).toBe('FailedOver');
      expect(moved?.message).toMatch(/cut at .*, \d+ s before \S+ was heard last$/);
      before = after;
    },

    /** The peer returns: what it wrote last is kept, and a move back works by a delta and loses no row. */
    async moveBack(afterReturn: () => Promise<void> = () => Promise.resolve()): Promise<void> {
      const began = Date.now();
      if (how === 'kill') await testbed.start(target);
      else for (const name of others) await testbed.heal(name, target);
      await testbed.kubectl(home, ['wait', `peer/${target}`, '--for=condition=Ready', '--timeout=120s']);
      await afterReturn();
      figures.returned = seconds(Date.now() - began);
      await eventually(
        `the store of ${target} is ready`,
        async () => {
          before = await rows();
          const stdout = await ledger.move(target);
          expect(stdout).toContain(`The volume is at ${target}`);
          return true;
        },
        120_000,
        2000,
      );
      const after = await writesAt(target, 60_000);
      figures.movedBack = seconds(Date.now() - began);
      report(
        `volume: ${target} is back after ${figures.returned} s, the volume is there again after ${figures.movedBack} s`,
      );
      expect(after.length).toBeGreaterThan(before.length);
      expectWhole(after);
      expect(after.slice(0, before.length)).toEqual(before);
      const points = (await replica()).points ?? [];
      expect(points.filter(({ salvage, peer }) => salvage === true && peer === target)).toHaveLength(1);
      const delta = points.find(
        ({ peer, consistency, salvage }) => peer === target && consistency === 'Stopped' && salvage !== true,
      );
      expect(delta?.bytesSent).toBeGreaterThan(0);
    },

    /** With its claim the volume goes, at every peer. */
    async remove(): Promise<void> {
      const began = Date.now();
      await ours('delete', 'statefulset', 'db');
      await ours('delete', 'volumereplica', 'db');
      await ours('delete', 'pvc', CLAIM);
      await eventually(
        'no placeholder is left',
        async () => {
          const left = await testbed.kubectl(home, ['get', 'pv', '-l', 'fluvia.dev/volume', '-o', 'name']);
          return left === '' ? true : undefined;
        },
        90_000,
      );
      for (const peer of [source, target])
        await eventually(`nothing of it is left at ${peer}`, async () => {
          const left = await testbed.kubectl(peer, [
            'get',
            'pvc,job,secret,pod',
            '-n',
            NAMESPACE,
            '-o',
            'name',
          ]);
          return /data-db-0|mover|db-0/.test(left) ? undefined : true;
        });
      figures.deleted = seconds(Date.now() - began);
      await testbed.kubectl(home, ['delete', 'namespace', NAMESPACE, '--timeout=120s']);
      await testbed.kubectl(home, ['delete', 'floatpolicy', 'default']);
      report(`volume: gone everywhere after ${figures.deleted} s`);
    },
  };
};
