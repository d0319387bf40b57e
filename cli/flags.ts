import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration such as `30s`, `5m`, `24h` in milliseconds; a bare number is seconds. */
export const seconds = (text: string): number => {
  const match = /^(\d{1,9})(ms|s|m|h|d)?$/.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('write a duration such as 90s, 5m or 24h.');
  }
  return Number(match[1]) * (UNITS[match[2] ?? 's'] ?? 1000);
};

/** A whole number of at least one. */
export const positive = (text: string): number => {
  if (!/^[1-9]\d{0,5}$/.test(text)) {
    throw new InvalidArgumentError('write a whole number of at least 1.');
  }
  return Number(text);
};

/** Collects a flag that may be given several times; commas separate, too. */
export const repeatable = (value: string, all: readonly string[] | undefined): readonly string[] => [
  ...(all ?? []),
  ...value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
];
