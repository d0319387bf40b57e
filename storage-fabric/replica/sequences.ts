import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { PERSISTENT_VOLUME } from '../../runtime/kube/resources.ts';
import { FIELD_MANAGER, type HomeVolumes } from '../volumes/home-volumes.ts';
import { sequenceToNote } from './plan-points.ts';

/**
 * The numbers of copies. Each is used once, whatever becomes of this leader, of the VolumeReplica and of the link to a store:
 * what is given out is noted on the placeholder first.
 */
export interface Sequences {
  /** The highest that may have been used. */
  last(volume: string): number;
  /** @throws a conflict when the placeholder was changed meanwhile: look again. */
  use(volume: string, sequence: number): Promise<void>;
  forget(volume: string): void;
}

interface Numbers {
  last: number;
  /** Up to this the placeholder says that they are given. */
  noted: number;
}

export const createSequences = (client: KubeClient, home: HomeVolumes, signal: AbortSignal): Sequences => {
  const volumes = new Map<string, Numbers>();
  const numbersOf = (id: string): Numbers => {
    const numbers = volumes.get(id) ?? { last: 0, noted: 0 };
    volumes.set(id, numbers);
    const text = home.volumeOf(id)?.metadata.annotations?.[STORAGE_ANNOTATIONS.sequence];
    const noted = Number(text ?? '0');
    // of a leader before this one
    if (Number.isSafeInteger(noted) && noted > numbers.noted) {
      numbers.noted = noted;
      numbers.last = Math.max(numbers.last, noted);
    }
    return numbers;
  };
  return {
    last: (id) => numbersOf(id).last,
    use: async (id, sequence) => {
      const numbers = numbersOf(id);
      const value = sequenceToNote(sequence, numbers.noted);
      const volume = home.volumeOf(id);
      if (value !== undefined && volume !== undefined) {
        const { name, uid, resourceVersion } = volume.metadata;
        const annotations = { [STORAGE_ANNOTATIONS.sequence]: String(value) };
        const body = { metadata: { uid, resourceVersion, annotations } };
        const options = { type: 'merge', fieldManager: FIELD_MANAGER, signal } as const;
        await client.patch(PERSISTENT_VOLUME, name, undefined, body, options);
        numbers.noted = value;
      }
      numbers.last = Math.max(numbers.last, sequence);
    },
    forget: (id) => void volumes.delete(id),
  };
};
