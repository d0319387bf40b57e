import { expect, it } from 'vitest';
import { judgeRows, parseAcknowledged, parseNumbers } from './rows.ts';

const log = [
  '2026-11-25T05:00:00.000000000Z acknowledged 1',
  '2026-11-25T05:00:00.250000000Z psql: error: connection refused',
  '2026-11-25T05:00:01.500000000Z acknowledged 3',
  '2026-11-25T05:00:02.000000000Z acknowledged 4',
  '',
].join('\n');

it('reads numbers and times from the log, and nothing else', () => {
  expect(parseAcknowledged(log).map(({ n }) => n)).toEqual([1, 3, 4]);
  expect(parseAcknowledged(log)[1]?.atMs).toBe(Date.parse('2026-11-25T05:00:01.500Z'));
});

it('counts a row as lost only if it was acknowledged and is not there', () => {
  const lossMs = Date.parse('2026-11-25T05:00:02.500Z');
  expect(judgeRows(parseAcknowledged(log), parseNumbers('1\n2\n'), lossMs)).toMatchObject({
    acknowledged: 3,
    lost: [{ n: 3 }, { n: 4 }],
    oldestLostMs: 1000,
  });
  // 5 is there and wasn't acknowledged: its answer was lost, not the row
  expect(judgeRows(parseAcknowledged(log), parseNumbers('1\n3\n4\n5\n'), lossMs)).toMatchObject({
    lost: [],
    oldestLostMs: undefined,
  });
});
