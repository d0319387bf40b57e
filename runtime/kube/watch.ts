/** One watch request: bytes in, events out. */
import type { OutgoingHttpHeaders } from 'node:http';

import type { WatchEvent, WatchOptions } from './client.ts';
import { createDeadline } from './deadline.ts';
import { ApiError, errorFromResponse } from './errors.ts';
import { createLineDecoder, LineTooLongError } from './json-lines.ts';
import { readText, type Transport, type TransportResponse } from './transport.ts';

const MAX_LINE_BYTES = 16 * 1024 * 1024;

interface WatchCall {
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly options: WatchOptions;
  readonly server: string;
}

const unusable = (label: string, message: string, cause?: unknown): ApiError =>
  new ApiError({ status: 0, reason: 'BadWatchData', message: `${label}: ${message}`, cause });

const parseEvent = <T>(label: string, line: string): WatchEvent<T> => {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch (error) {
    throw unusable(label, 'a watch event is not JSON', error);
  }
  if (
    typeof event !== 'object' ||
    event === null ||
    !('type' in event) ||
    !('object' in event) ||
    !event.object
  ) {
    throw unusable(label, 'a watch event has no type or object');
  }
  return event as WatchEvent<T>;
};

/**
 * watchEvents yields the events of one watch until the server ends it. A silent connection, a broken one, an HTTP error and
 * data that can't be read all reject with ApiError; the abort of the caller's signal ends it without an error.
 */
export const watchEvents = async function* <T>(
  transport: Transport,
  call: WatchCall,
): AsyncGenerator<WatchEvent<T>> {
  const { options } = call;
  const label = `GET ${call.path.split('?')[0]} (watch)`;
  const silence = createDeadline(options.signal, options.inactivityMs);
  const { signal } = silence;
  let response: TransportResponse | undefined;
  try {
    response = await transport.send({ method: 'GET', path: call.path, headers: call.headers, signal });
    if (response.status >= 400) {
      throw errorFromResponse(
        label,
        response.status,
        await readText(response.body),
        response.header('retry-after'),
      );
    }
    const decoder = createLineDecoder(MAX_LINE_BYTES);
    for await (const chunk of response.body) {
      silence.refresh();
      for (const line of decoder.push(chunk as Buffer)) {
        if (options.signal.aborted) return;
        yield parseEvent<T>(label, line);
      }
    }
  } catch (error) {
    if (options.signal.aborted) return;
    if (silence.expired()) {
      const message = `${label}: nothing came for ${options.inactivityMs} ms`;
      throw new ApiError({ status: 0, reason: 'Timeout', message, cause: error });
    }
    if (error instanceof ApiError) throw error;
    if (error instanceof LineTooLongError) throw unusable(label, error.message, error);
    const message = `${label}: API server ${call.server}: ${error instanceof Error ? error.message : String(error)}`;
    throw new ApiError({ status: 0, reason: 'Unreachable', message, cause: error });
  } finally {
    silence.clear();
    response?.body.destroy();
  }
};
