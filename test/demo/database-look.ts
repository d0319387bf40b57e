/** What can be seen of the database: its rows, the copies of its volume, how the volume moved. */
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import { eventually } from '../support/fluviactl.ts';
import { judgeRows, parseAcknowledged, parseNumbers, type RowVerdict } from './rows.ts';
import { HOME, ORDERS, type Stage } from './stage.ts';

/** How the volume's last move ended. */
export interface Move {
  readonly kind: 'planned' | 'failover';
  readonly to: string;
  readonly message: string;
  readonly cutAt: string;
}

interface Item {
  readonly kind: string;
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly points?: readonly RecoveryPoint[];
  };
}

const get = async (stage: Stage, ...names: readonly string[]): Promise<readonly Item[]> => {
  const args = ['get', '-n', ORDERS, ...names, '--ignore-not-found', '-o', 'json'];
  const output = await stage.atHome(...args);
  if (output.trim() === '') return [];
  const parsed = JSON.parse(output) as Item | { readonly items: readonly Item[] };
  return 'items' in parsed ? parsed.items : [parsed];
};

const isTrue = (item: Item | undefined, type: string): boolean =>
  item?.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false;

const acknowledged = async (stage: Stage): Promise<ReturnType<typeof parseAcknowledged>> =>
  parseAcknowledged(await stage.atHome('logs', 'writer', '--timestamps', '--tail=-1'));

/** Waits until the writer got `more` rows acknowledged from now on; returns how many there are in all. */
export const waitForRows = async (stage: Stage, more: number): Promise<number> => {
  const before = (await acknowledged(stage)).length;
  return eventually(`${more} rows are acknowledged`, async () => {
    const { length } = await acknowledged(stage);
    return length >= before + more ? length : undefined;
  });
};

/** Holds the rows that were acknowledged against those that the database has. */
export const judgeDatabase = async (stage: Stage, lossMs: number): Promise<RowVerdict> => {
  // in this order: whatever was acknowledged by then must be there
  const said = await acknowledged(stage);
  const psql = ['exec', '-n', ORDERS, 'db-0', '--', 'psql', '-Atc', 'SELECT n FROM orders'];
  return judgeRows(said, parseNumbers(await stage.atHome(...psql)), lossMs);
};

/** PostgreSQL's own check of every table and index; throws when something is damaged. */
export const checkDatabase = async (stage: Stage): Promise<void> => {
  const check = ['pg_amcheck', '--all', '--install-missing', '--heapallindexed'];
  stage.say.command(`kubectl --context ${HOME} exec -n ${ORDERS} db-0 -- ${check.join(' ')}`);
  await stage.atHome('exec', '-n', ORDERS, 'db-0', '--', ...check);
  stage.say.output('no damage');
};

/** Recovery points, newest first. */
export const pointsOf = async (stage: Stage): Promise<readonly RecoveryPoint[]> =>
  (await get(stage, 'volumereplica/db'))[0]?.status?.points ?? [];

const moveOf = (annotations: Readonly<Record<string, string>>): Partial<Move> =>
  JSON.parse(annotations['fluvia.dev/last-move'] ?? '{}') as Partial<Move>;

/** How the volume moved last. */
export const lastMove = async (stage: Stage, volume: string): Promise<Move> => {
  const [item] = await get(stage, `persistentvolume/${volume}`);
  return moveOf(item?.metadata.annotations ?? {}) as Move;
};

/** How far a failover is. */
export interface Failover {
  readonly isPeerLost: boolean;
  /** Or has been restored. */
  readonly isRestoring: boolean;
}

/** One look at a failover from `peer`. */
export const lookAtFailover = async (stage: Stage, peer: string, volume: string): Promise<Failover> => {
  const items = await get(stage, `peer/${peer}`, `persistentvolume/${volume}`);
  const find = (kind: string): Item | undefined => items.find((item) => item.kind === kind);
  const annotations = find('PersistentVolume')?.metadata.annotations ?? {};
  return {
    isPeerLost: !isTrue(find('Peer'), 'Ready'),
    isRestoring: 'fluvia.dev/move' in annotations || moveOf(annotations).kind === 'failover',
  };
};
