/**
 * The life of a volume that begins at home, told in order: made by home's own class for a pod like any other, moved to a peer
 * once its namespace is open, moved back, deleted in both clusters.
 */
import { expect } from 'vitest';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import { applyObjects } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { CLAIM, database, expectWhole, openLedger, type Row } from './ledger.ts';

export interface HomeVolumeStory {
  readonly testbed: Testbed;
  /** Has a store, as the peer has. */
  readonly home: string;
  readonly peer: string;
  readonly report: (line: string) => void;
}

const NAMESPACE = 'till';
const VOLUMES_NAMESPACE = 'fluvia-volumes';
const READY_MESSAGE = 'jsonpath={.status.conditions[?(@.type=="Ready")].message}';

const seconds = (ms: number): number => Math.round(ms / 100) / 10;

/** Tells it all. */
export const homeVolumeStory = async ({ testbed, home, peer, report }: HomeVolumeStory): Promise<void> => {
  const ledger = openLedger(testbed, home, NAMESPACE);
  const atHome = (...args: readonly string[]): Promise<string> => testbed.kubectl(home, [...args]);
  const moveTo = async (place: string, before: readonly Row[]): Promise<void> => {
    const began = Date.now();
    expect(await ledger.move(place)).toContain(`The volume is at ${place}`);
    const after = await ledger.writesAt(place, before, 60_000);
    report(`volume at home: moved to ${place}, its pod writes there after ${seconds(Date.now() - began)} s`);
    expect(after.length).toBeGreaterThan(before.length);
    expectWhole(after);
  };

  // the first pod of a namespace that nobody opened stays at home, and so does its volume
  let began = Date.now();
  await applyObjects(testbed, home, [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    database(NAMESPACE),
  ]);
  await ledger.writesAt(home, [], 90_000);
  report(`volume at home: made, its pod writes after ${seconds(Date.now() - began)} s`);
  const { name, annotations } = (await ledger.volume()).metadata;
  expect(annotations['fluvia.dev/location']).toBe('@home');
  const claim = ['-n', VOLUMES_NAMESPACE, 'get', 'pvc', name, '-o', 'jsonpath={.spec.volumeName}'];
  const real = await atHome(...claim);
  const policy = ['-o', 'jsonpath={.spec.persistentVolumeReclaimPolicy}'];
  expect(await atHome('get', 'pv', real, ...policy)).toBe('Retain');

  await fluviactl(['offload', 'namespace', NAMESPACE, '--kubeconfig', testbed.kubeconfigPath(home)]);
  await moveTo(peer, await ledger.rows());
  // the twin holds the data: the command refuses, and a namespace that is closed without it keeps the twin
  const close = ['unoffload', 'namespace', NAMESPACE, '--kubeconfig', testbed.kubeconfigPath(home)];
  await expect(fluviactl(close)).rejects.toThrow(`would go with what is closed there: ${NAMESPACE}/${CLAIM}`);
  const rows = await ledger.rows();
  await ledger.ours('delete', 'namespaceoffloading', 'offloading', '--wait=false');
  await eventually('closing waits for the volume', async () => {
    const message = await ledger.ours('get', 'namespaceoffloading', 'offloading', '-o', READY_MESSAGE);
    return message.includes(`${CLAIM} (at ${peer})`) ? true : undefined;
  });
  await moveTo(home, rows);

  began = Date.now();
  await ledger.ours('delete', 'statefulset', 'db');
  await ledger.ours('delete', 'pvc', CLAIM);
  await eventually('nothing of it is left at home', async () => {
    const claims = await atHome('-n', VOLUMES_NAMESPACE, 'get', 'pvc,job,secret', '-o', 'name');
    const volumes = await atHome('get', 'pv', '-o', 'name');
    const nodes = await atHome('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.labels}');
    const isLeft =
      claims !== '' || volumes.includes(real) || /fluvia-v|fluvia.dev\/volume-/.test(volumes + nodes);
    return isLeft ? undefined : true;
  });
  await eventually(`nothing of it is left at ${peer}`, async () => {
    const left = await testbed.kubectl(peer, ['-n', NAMESPACE, 'get', 'pvc,job,secret,pod', '-o', 'name']);
    return /data-db-0|mover|db-0/.test(left) ? undefined : true;
  });
  report(`volume at home: gone everywhere after ${seconds(Date.now() - began)} s`);
  await atHome('delete', 'namespace', NAMESPACE, '--timeout=120s');
};
