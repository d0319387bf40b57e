/**
 * Structured log: one JSON object per line on stdout, as pino writes it (`level`, `time`, `msg`), without its memory.
 * Keys that name secrets are replaced before they are written.
 */

/** LogFields: camelCase keys; the fixed ones are controller, key, cluster, peer, err. */
export type LogFields = Readonly<Record<string, unknown>>;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each line. */
  child(fields: LogFields): Logger;
}

const levels: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 };
const secretKey =
  /^(authorization|cookie|password|passwd|secret|token|bearer|privatekey|key_?data|seed|psk|presharedkey)$|token$|password$|privatekey$|secret$/i;
const maxStringLength = 4096;
const maxDepth = 6;

const errorFields = (error: Error, depth: number): Record<string, unknown> => ({
  type: error.name,
  message: error.message,
  ...('code' in error ? { code: error.code } : {}),
  ...(error.cause === undefined || depth > 3 ? {} : { cause: clean(error.cause, depth + 1) }),
  stack: error.stack?.split('\n').slice(1, 6).join('\n'),
});

const clean = (value: unknown, depth = 0): unknown => {
  if (typeof value === 'string') {
    return value.length > maxStringLength
      ? `${value.slice(0, maxStringLength)}… (${value.length} characters)`
      : value;
  }
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth > maxDepth) return '…';
  if (value instanceof Error) return errorFields(value, depth);
  if (value instanceof Date || value instanceof URL) return value.toJSON();
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => clean(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      secretKey.test(key) ? '<redacted>' : clean(item, depth + 1),
    ]),
  );
};

export interface LoggerOptions {
  readonly level?: LogLevel | undefined;
  readonly fields?: LogFields | undefined;
  /** Where lines go, default stdout. */
  readonly write?: ((line: string) => void) | undefined;
  readonly now?: (() => number) | undefined;
}

/** createLogger makes the process's root logger. */
export const createLogger = (options: LoggerOptions = {}): Logger => {
  const threshold = levels[options.level ?? 'info'];
  const write = options.write ?? ((line: string) => void process.stdout.write(line));
  const now = options.now ?? Date.now;
  const make = (base: LogFields): Logger => {
    const emit =
      (level: LogLevel) =>
      (message: string, fields: LogFields = {}): void => {
        if (levels[level] < threshold) return;
        const line = {
          level,
          time: new Date(now()).toISOString(),
          ...base,
          ...(clean(fields) as LogFields),
          msg: message,
        };
        write(`${JSON.stringify(line)}\n`);
      };
    return {
      debug: emit('debug'),
      info: emit('info'),
      warn: emit('warn'),
      error: emit('error'),
      child: (fields) => make({ ...base, ...(clean(fields) as LogFields) }),
    };
  };
  return make(clean(options.fields ?? {}) as LogFields);
};

/** silentLogger drops everything. */
export const silentLogger: Logger = createLogger({ write: () => {} });
