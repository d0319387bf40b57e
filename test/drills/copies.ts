/** The drills of copies, which need no cluster: the mover, the store's front, a real S3 server and btrfs on this machine. */
import { startCopyLab, type CopyLab } from '../host/copy-lab.ts';
import { copyKillTable, FULL_KILLS, runCopyKillDrill } from './copy-kills.ts';
import { FULL_POSTGRES, postgresTable, runPostgresDrill } from './copy-postgres.ts';

export const COPY_DRILLS = ['copies', 'postgres'] as const;

type Report = (line: string) => void;

const inLab = async (work: (lab: CopyLab) => Promise<string>): Promise<string> => {
  const lab = await startCopyLab({ diskBytes: 8 * 2 ** 30 });
  try {
    return await work(lab);
  } finally {
    await lab.stop();
  }
};

/** Runs those that are wanted, at full size; returns their figures. */
export const runCopyDrills = async (
  wanted: readonly string[],
  seed: number,
  report: Report,
): Promise<readonly string[]> => {
  const tables: string[] = [];
  if (wanted.includes('copies')) {
    tables.push(
      await inLab(async (lab) => copyKillTable(await runCopyKillDrill({ lab, ...FULL_KILLS, seed, report }))),
    );
  }
  if (wanted.includes('postgres')) {
    tables.push(
      await inLab(async (lab) => postgresTable(await runPostgresDrill({ lab, ...FULL_POSTGRES, report }))),
    );
  }
  return tables;
};
