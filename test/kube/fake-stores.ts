import type { ItemOf } from '../../api/link.ts';
import { keptPoints } from '../../api/recovery-points.ts';
import {
  RECORD_REQUESTS,
  RECORDS,
  TRANSFER_STATUS,
  TRANSFERS,
  type StoredRecord,
} from '../../api/storage-collections.ts';
import { recordSeal } from '../../storage-fabric/record-seal.ts';
import type { FakePeer } from './fake-links.ts';

type Told = StoredRecord;
type Order = ItemOf<typeof TRANSFERS>;
type Result = NonNullable<ItemOf<typeof TRANSFER_STATUS>['result']>;

/** The records that peers' stores hold, by peer and volume. */
export interface FakeStores {
  of(peer: string, volume: string): readonly Told[];
  /** As a mover writes it, also one whose word got lost. */
  add(peer: string, order: Order, result: Result): void;
}

/** Plays the stores of peers: a mover that ends well leaves its record, and who asks is told which there are. */
export const keepStores = (peers: readonly FakePeer[]): FakeStores => {
  const stores = new Map<string, readonly Told[]>();
  const keyOf = (peer: string, volume: string): string => `${peer}/${volume}`;
  const of: FakeStores['of'] = (peer, volume) => stores.get(keyOf(peer, volume)) ?? [];
  const set = (peer: string, volume: string, records: readonly Told[]): void =>
    void stores.set(keyOf(peer, volume), records);
  const add: FakeStores['add'] = (peer, { volume, epoch, sequence, salvage, key }, result) => {
    const record = { ...result, epoch, sequence, ...(salvage === true ? { salvage } : {}) };
    const seal = recordSeal(key, { ...record, volume });
    set(peer, volume, [...of(peer, volume), { ...record, seal }]);
  };
  for (const runner of peers)
    runner.tell(TRANSFER_STATUS).onChange((id) => {
      const status = id === undefined ? undefined : runner.tell(TRANSFER_STATUS).items.get(id);
      const item = id === undefined ? undefined : runner.sent(TRANSFERS).items.get(id);
      const target = peers.find(({ link }) => link.clusterID === item?.store.clusterID)?.link.peer;
      if (status?.phase !== 'Succeeded' || item === undefined || target === undefined) return;
      const { volume, epoch, sequence } = item;
      const known = of(target, volume);
      if (item.action === 'maintain')
        set(target, volume, keptPoints(known, item.keep ?? known.length, item.salvageSince));
      const isKnown = known.some((one) => one.epoch === epoch && one.sequence === sequence);
      if (item.action === 'backup' && status.result !== undefined && !isKnown)
        add(target, item, status.result);
    });
  for (const peer of peers)
    peer.sent(RECORD_REQUESTS).onChange((volume) => {
      const asked = volume === undefined ? undefined : peer.sent(RECORD_REQUESTS).items.get(volume);
      if (volume === undefined) return;
      if (asked === undefined) peer.tell(RECORDS).delete(volume);
      else
        peer.tell(RECORDS).set(volume, { attempt: asked.attempt, records: [...of(peer.link.peer, volume)] });
    });
  return { of, add };
};
