import { setTimeout as sleep } from 'node:timers/promises';
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import { ensureImage } from '../images/images.ts';
import { eventually } from '../support/fluviactl.ts';
import {
  checkDatabase,
  judgeDatabase,
  lastMove,
  lookAtFailover,
  pointsOf,
  waitForRows,
} from './database-look.ts';
import { CLAIM, database, policy, POLICY, replica, writer } from './database.ts';
import { CLUSTERS, HOME, ORDERS, PEERS, type Stage, type Step } from './stage.ts';

/** Seconds between copies, the least that a VolumeReplica takes. */
const INTERVAL = 10;
/** Until it is noticed that a copy is due. */
const SLACK_MS = 3000;
const FAILOVER_MS = 180_000;

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** A database runs at a peer, is copied, loses its peer, goes on at the other one, and comes back: told in order. */
class DatabaseStory {
  /** Peer where it begins, and the other one. */
  #source = '';
  #target = '';
  #volume = '';
  /** The longest time from a copy's cut until it counted. */
  #flightMs = 0;
  #lostAtMs = 0;
  /** Rows lost with the peer: no others may join them. */
  #lostRows = 0;

  async run(stage: Stage): Promise<void> {
    const { testbed, say } = stage;
    const image = await ensureImage('postgresql', (line) => say.output(line));
    await Promise.all(CLUSTERS.map((cluster) => testbed.load(cluster, image)));
    const { hysteresisSeconds, graceSeconds, leaseSeconds, stopSeconds } = POLICY;
    say.output(
      `policy.yaml has short times, for a demo: a peer is lost after ${hysteresisSeconds} s of silence, its pods`,
    );
    say.output(
      `are replaced ${graceSeconds} s later, a database only when its old pod must have stopped: ${leaseSeconds} + ${stopSeconds} s`,
    );
    await stage.atHome('create', 'namespace', ORDERS);
    await stage.fluviactl(HOME, 'offload', 'namespace', ORDERS, '--strategy', 'remote');
    say.command(`kubectl --context ${HOME} apply -n ${ORDERS} -f policy.yaml -f database.yaml`);
    await stage.apply(ORDERS, policy, ...database);
    const [pod] = await stage.waitForPods(ORDERS, 'app=db', 1);
    this.#source = PEERS.find((peer) => pod?.node === `fluvia-${peer}`) ?? '';
    this.#target = PEERS.find((peer) => peer !== this.#source) ?? '';
    if (this.#source === '') throw new Error(`db-0 runs on ${pod?.node ?? ''}, not at a peer`);
    const volumeName = ['-o', 'jsonpath={.spec.volumeName}'];
    this.#volume = await stage.atHome('get', 'pvc', '-n', ORDERS, CLAIM, ...volumeName);
    await stage.kubectl(HOME, 'get', 'pods,pvc', '-n', ORDERS, '-o', 'wide');
    await stage.apply('default', writer(ORDERS));
    await stage.atHome('wait', 'pod/writer', '--for=condition=Ready', '--timeout=60s');
    const count = await waitForRows(stage, 10);
    say.output(
      `A writer at home inserts numbered rows, one by one, by the Service db.${ORDERS}: ${count} so far.`,
    );
    say.output('A row counts as acknowledged when COMMIT was answered (synchronous_commit = on).');
  }

  async copy(stage: Stage): Promise<void> {
    const { say } = stage;
    say.command(
      `kubectl --context ${HOME} apply -n ${ORDERS} -f replica.yaml   # every ${INTERVAL} s, to ${this.#target}`,
    );
    await stage.apply(ORDERS, replica(this.#target, INTERVAL));
    const points = await this.#waitForCopies(stage, 2);
    await stage.kubectl(HOME, 'get', 'volumereplica', '-n', ORDERS);
    for (const { sequence, consistency, bytesScanned, bytesSent } of points.toReversed())
      say.output(
        `copy ${sequence}: ${consistency}, ${mebibytes(bytesScanned)} read, ${mebibytes(bytesSent)} sent`,
      );
  }

  async #waitForCopies(stage: Stage, count: number): Promise<readonly RecoveryPoint[]> {
    const seen = new Set<number>();
    return eventually(
      `${count} copies at ${this.#target}`,
      async () => {
        const points = await pointsOf(stage);
        const now = Date.now();
        for (const { sequence, cutAt } of points) {
          if (!seen.has(sequence)) this.#flightMs = Math.max(this.#flightMs, now - Date.parse(cutAt));
          seen.add(sequence);
        }
        return points.length >= count ? points : undefined;
      },
      120_000,
      500,
    );
  }

  async lose(stage: Stage): Promise<void> {
    const { testbed, say } = stage;
    // between two copies, as any moment is
    await sleep(3000);
    say.command(`npm run testbed -- kill ${this.#source} --name ${testbed.name}`);
    this.#lostAtMs = Date.now();
    await testbed.kill(this.#source);
    const since = (): string => `${seconds(Date.now() - this.#lostAtMs).padStart(7)} later:`;
    const look = async (what: string, key: 'isPeerLost' | 'isRestoring'): Promise<void> => {
      await eventually(
        what,
        async () => ((await lookAtFailover(stage, this.#source, this.#volume))[key] ? true : undefined),
        FAILOVER_MS,
        250,
      );
      say.output(`${since()} ${what}`);
    };
    await look(`${this.#source} doesn't answer any more`, 'isPeerLost');
    await look(
      `its database can't be running any more; the copy is restored at ${this.#target}`,
      'isRestoring',
    );
    await stage.waitForPods(ORDERS, 'app=db', 1, FAILOVER_MS, `fluvia-${this.#target}`);
    say.output(`${since()} the database is Ready at ${this.#target}`);
    await stage.kubectl(HOME, 'get', 'peers');
    await stage.kubectl(HOME, 'get', 'pods', '-n', ORDERS, '-o', 'wide');
    await checkDatabase(stage);
    await this.#judgeLoss(stage);
  }

  async #judgeLoss(stage: Stage): Promise<void> {
    const { say } = stage;
    const { message, cutAt } = await lastMove(stage, this.#volume);
    const ageMs = this.#lostAtMs - Date.parse(cutAt);
    say.output(message);
    await waitForRows(stage, 5);
    const { acknowledged, lost, oldestLostMs = 0 } = await judgeDatabase(stage, this.#lostAtMs);
    this.#lostRows = lost.length;
    say.output(`age of the data when ${this.#source} lost power: ${seconds(ageMs)}`);
    say.output(
      lost.length === 0
        ? `rows acknowledged: ${acknowledged}, lost: 0`
        : `rows acknowledged: ${acknowledged}, lost: ${lost.length}, the oldest of them ${seconds(oldestLostMs)} before the power cut`,
    );
    if (oldestLostMs > ageMs) throw new Error('a row is lost that is older than the copy');
    const most = INTERVAL * 1000 + this.#flightMs + SLACK_MS;
    if (oldestLostMs > most)
      throw new Error(
        `rows of ${seconds(oldestLostMs)} are lost, more than of an interval and a copy: ${seconds(most)}`,
      );
  }

  async moveBack(stage: Stage): Promise<void> {
    const { testbed, say } = stage;
    say.command(`npm run testbed -- start ${this.#source} --name ${testbed.name}`);
    const began = Date.now();
    await testbed.start(this.#source);
    await stage.atHome('wait', `peer/${this.#source}`, '--for=condition=Ready', '--timeout=120s');
    const store = ['rollout', 'status', '-n', 'fluvia-system', 'deployment/fluvia-store', '--timeout=120s'];
    await testbed.kubectl(this.#source, store);
    say.output(`${this.#source} is back after ${seconds(Date.now() - began)}`);
    const move = ['move', 'volume', CLAIM, '-n', ORDERS, '--to', this.#source, '--timeout', '4m'];
    await stage.fluviactl(HOME, ...move);
    await stage.waitForPods(ORDERS, 'app=db', 1, 120_000, `fluvia-${this.#source}`);
    await stage.kubectl(HOME, 'get', 'pods', '-n', ORDERS, '-o', 'wide');
    await checkDatabase(stage);
    await waitForRows(stage, 5);
    const { acknowledged, lost } = await judgeDatabase(stage, Date.now());
    const more = lost.length - this.#lostRows;
    say.output(`rows acknowledged: ${acknowledged}, lost by the move: ${more}`);
    if (more !== 0) throw new Error(`the move lost ${more} acknowledged rows`);
    await this.#tellSalvage(stage);
  }

  async #tellSalvage(stage: Stage): Promise<void> {
    const salvage = (await pointsOf(stage)).find((point) => point.salvage === true);
    if (salvage === undefined) return;
    stage.say.output(
      `What ${this.#source} wrote last and nobody had copied is kept as copy ${salvage.sequence} (salvage) at ${salvage.peer}.`,
    );
  }

  get steps(): readonly Step[] {
    return [
      {
        title: 'Run PostgreSQL as a StatefulSet, on a volume of class fluvia',
        act: (stage) => this.run(stage),
      },
      {
        title: 'Why does it run there?',
        act: async (stage) => void (await stage.fluviactl(HOME, 'explain', 'pod', `${ORDERS}/db-0`)),
      },
      { title: 'Copy its volume to the other peer: a VolumeReplica', act: (stage) => this.copy(stage) },
      {
        title: 'The peer loses power: the database goes on at the other one',
        act: (stage) => this.lose(stage),
      },
      { title: 'The peer returns, and the data flows back', act: (stage) => this.moveBack(stage) },
    ];
  }
}

/** The database's steps. */
export const runDatabase = (): readonly Step[] => new DatabaseStory().steps;
