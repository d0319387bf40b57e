import { stringify } from 'yaml';
import { safeText } from './safe-text.ts';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

/** Forms in which a command gives its data. */
export type OutputFormat = 'text' | 'wide' | 'json' | 'yaml' | 'name';

/** The wanted form. Throws BAD_INPUT for one that the command doesn't have. */
export const parseOutput = (value: string | undefined, allowed: readonly OutputFormat[]): OutputFormat => {
  const format = allowed.find((a) => a === (value ?? 'text'));
  if (format === undefined) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `there is no output format "${value ?? ''}" here`, {
      kind: 'terminal',
      hint: `choose one of ${allowed.filter((a) => a !== 'text').join(', ')}`,
    });
  }
  return format;
};

/** Data as JSON or YAML, with a final newline. */
export const formatData = (data: unknown, format: 'json' | 'yaml'): string =>
  safeText(format === 'json' ? `${JSON.stringify(data, undefined, 2)}\n` : stringify(data, { lineWidth: 0 }));
