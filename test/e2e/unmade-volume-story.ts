/** A volume that the peer of its first pod can't make is made at the other one, and its pod with it. */
import { expect } from 'vitest';
import { cordonPeer } from '../support/fabric.ts';
import { eventually, fluviactl } from '../support/fluviactl.ts';
import { applyObjects } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { CLAIM, database, expectWhole, openLedger } from './ledger.ts';

export interface UnmadeVolumeStory {
  readonly testbed: Testbed;
  readonly home: string;
  /** Peer that has no default class for a while, and the one that has. */
  readonly without: string;
  readonly other: string;
  readonly report: (line: string) => void;
}

const NAMESPACE = 'unmade';
const IS_DEFAULT = 'storageclass.kubernetes.io/is-default-class';

/** Tells it. Takes the default class of `without` away and gives it back. */
export const tellUnmadeVolume = async (story: UnmadeVolumeStory): Promise<void> => {
  const { testbed, home, without, other, report } = story;
  const ledger = openLedger(testbed, home, NAMESPACE);
  const [kubeconfig, at] = [testbed.kubeconfigPath(home), testbed.kubectl.bind(testbed)];
  const classes = await at(without, ['get', 'storageclass', '-o', 'json']);
  const [name = ''] = (
    JSON.parse(classes) as {
      items: { metadata: { name: string; annotations?: Record<string, string> } }[];
    }
  ).items
    .filter(({ metadata }) => metadata.annotations?.[IS_DEFAULT] === 'true')
    .map(({ metadata }) => metadata.name);
  const setDefault = (value: string): Promise<string> =>
    at(without, ['annotate', 'storageclass', name, `${IS_DEFAULT}=${value}`, '--overwrite']);

  await applyObjects(testbed, home, [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }]);
  await fluviactl(['offload', 'namespace', NAMESPACE, '--kubeconfig', kubeconfig, '--strategy', 'remote']);
  await setDefault('false');
  await cordonPeer(testbed, home, other, true);
  try {
    await applyObjects(testbed, home, [database(NAMESPACE)]);
    const refusal = await eventually(
      `${without} is found to have no class`,
      async () => (await ledger.volume()).metadata.annotations['fluvia.dev/refused'],
      60_000,
    );
    expect(refusal).toContain('no default StorageClass');
    await cordonPeer(testbed, home, other, false);
    const began = Date.now();
    const rows = await ledger.writesAt(other, [], 60_000);
    report(
      `volume: not made at ${without}; made at ${other}, its pod writes ${(Date.now() - began) / 1000} s after that had room`,
    );
    expectWhole(rows);
    expect((await ledger.volume()).metadata.annotations).toMatchObject({
      'fluvia.dev/location': other,
      'fluvia.dev/epoch': '1',
    });
    await eventually(`${without} keeps nothing of it`, async () => {
      const left = await at(without, ['get', 'pvc', '-n', NAMESPACE, '-o', 'name', '--ignore-not-found']);
      return left.includes(CLAIM) ? undefined : true;
    });
  } finally {
    await cordonPeer(testbed, home, other, false);
    await setDefault('true');
  }
  await ledger.ours('delete', 'statefulset', 'db');
  await ledger.ours('delete', 'pvc', CLAIM);
  await at(home, ['delete', 'namespace', NAMESPACE, '--timeout=120s']);
};
