/** The drills of copies, which need no cluster: the mover, the store's front, a real S3 server and btrfs on this machine. */
import { startCopyLab, type CopyLab } from '../host/copy-lab.ts';
import { copyKillTable, FULL_KILLS, runCopyKillDrill } from './copy-kills.ts';
import { FULL_POSTGRES, postgresTable, runPostgresDrill } from './copy-postgres.ts';

export const COPY_DRILLS = ['copies', 'postgres'] as const;

type Report = (line: string) => void;

const inLab = async (work: (lab: CopyLab) => Promise<void>): Promise<void> => {
  const lab = await startCopyLab({ diskBytes: 8 * 2 ** 30 });
  try {
    await work(lab);
  } finally {
    await lab.stop();
  }
};

/** Runs those that are wanted, at full size; `show` gets the figures of each when it has held. */
export const runCopyDrills = async (
  wanted: readonly string[],
  seed: number,
  report: Report,
  show: Report,
): Promise<void> => {
  if (wanted.includes('copies'))
    await inLab(async (lab) =>
      show(copyKillTable(await runCopyKillDrill({ lab, ...FULL_KILLS, seed, report }))),
    );
  if (wanted.includes('postgres'))
    await inLab(async (lab) =>
      show(postgresTable(await runPostgresDrill({ lab, ...FULL_POSTGRES, report }))),
    );
};
