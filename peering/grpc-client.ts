import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Method } from '../proto/load.ts';
import { errorOfTrailers, linkDown, type Trailers } from './grpc-errors.ts';
import { LIMITS } from './protocol.ts';

/**
 * A gRPC client over one given connection. grpc-js's own client insists on dialling, resolving and reconnecting, and has no
 * public way to take a socket that was accepted; what calls need of gRPC over HTTP/2 is short (PROTOCOL-HTTP2.md of gRPC).
 * A client lives and dies with its connection: no hidden retry, no queue.
 */

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Time limit of the whole call; none when missing. */
  readonly deadlineMs?: number | undefined;
}

/** A streaming call. Iterate it once; ending the loop early cancels the call. */
export interface StreamingCall<Request, Response> extends AsyncIterable<Response> {
  /** Resolves when there is room for more; rejects when the call is over. */
  write(message: Request): Promise<void>;
  /** No more messages from this side. */
  end(): void;
  cancel(): void;
}

export interface GrpcClient {
  unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options?: CallOptions,
  ): Promise<Response>;
  stream<Request, Response>(
    method: Method<Request, Response>,
    options?: CallOptions,
  ): StreamingCall<Request, Response>;
  isOpen(): boolean;
  /** Called once, when the connection is gone. */
  onClose(listener: () => void): void;
  /** Cuts the connection and every call on it. */
  destroy(): void;
}

const frame = (message: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

/** Cuts a byte stream into gRPC messages; refuses one that is too large before its bytes are kept. */
async function* messagesOf(stream: AsyncIterable<Buffer>, longest: number): AsyncGenerator<Buffer> {
  let chunks: Buffer[] = [];
  let held = 0;
  let wanted: number | undefined;
  for await (const chunk of stream) {
    chunks.push(chunk);
    held += chunk.length;
    while (held >= (wanted ?? 5)) {
      let data = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      if (wanted === undefined) {
        if (data[0] !== 0) throw protocolError('a compressed message, which was not asked for');
        const length = data.readUInt32BE(1);
        if (length > longest) throw protocolError(`a message of ${length} bytes, more than ${longest}`);
        wanted = length;
        data = data.subarray(5);
      } else {
        yield data.subarray(0, wanted);
        data = data.subarray(wanted);
        wanted = undefined;
      }
      chunks = data.length === 0 ? [] : [data];
      held = data.length;
      if (wanted !== undefined && held < wanted) break;
    }
  }
  if (held > 0 || wanted !== undefined) throw protocolError('half a message');
}

const protocolError = (what: string): FluviaError =>
  new FluviaError(ERROR_CODES.PROTOCOL, `the peer sent ${what}`, { kind: 'waiting' });

/** How a call ended. `trailers` also holds the headers of a response without a body. */
interface Ending {
  trailers: Trailers | undefined;
  /** Why this side gave up, if it did. */
  reason: FluviaError | undefined;
}

const open = (
  session: ClientHttp2Session,
  path: string,
  options: CallOptions,
): { readonly stream: ClientHttp2Stream; readonly ending: Ending } => {
  if (session.closed || session.destroyed) throw linkDown('the connection to the peer is gone');
  const { deadlineMs, signal } = options;
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(deadlineMs === undefined ? {} : { 'grpc-timeout': `${Math.max(1, Math.ceil(deadlineMs))}m` }),
  });
  const ending: Ending = { trailers: undefined, reason: undefined };
  const giveUp = (reason: FluviaError): void => {
    ending.reason ??= reason;
    stream.close(8); // CANCEL
    stream.destroy();
  };
  const onAbort = (): void => giveUp(linkDown(`${path} was cancelled`));
  const timer =
    deadlineMs === undefined
      ? undefined
      : setTimeout(
          () => giveUp(new FluviaError(ERROR_CODES.TIMEOUT, `${path}: no answer in ${deadlineMs} ms`)),
          deadlineMs,
        );
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  stream.on('response', (headers) => {
    if ('grpc-status' in headers) ending.trailers = headers;
    else if (headers[':status'] !== 200) giveUp(protocolError(`HTTP status ${String(headers[':status'])}`));
  });
  stream.on('trailers', (trailers) => (ending.trailers = trailers));
  // Without a listener an error would end the process; whoever reads the stream gets it from there.
  stream.on('error', () => {});
  stream.on('close', () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  });
  return { stream, ending };
};

const outcome = (path: string, ending: Ending, cause?: unknown): FluviaError | undefined => {
  if (ending.reason !== undefined) return ending.reason;
  if (ending.trailers !== undefined) return errorOfTrailers(path, ending.trailers);
  return cause instanceof FluviaError ? cause : linkDown(`${path}: the connection broke`, cause);
};

/** A client on an established connection, which from then on is this client's. */
export const createGrpcClient = (socket: Duplex): GrpcClient => {
  const session = connect('https://peer.fluvia', {
    createConnection: () => socket,
    maxSessionMemory: LIMITS.sessionMemoryMiB,
    maxSettings: 32,
    settings: { enablePush: false, initialWindowSize: 1024 * 1024 },
  });
  session.on('error', () => {});
  // Errors before the session was set up come on the socket.
  socket.on('error', () => {});

  const start = <Request, Response>(
    method: Method<Request, Response>,
    options: CallOptions,
  ): StreamingCall<Request, Response> => {
    const { stream, ending } = open(session, method.path, options);
    const closed = new Promise<void>((resolve) => stream.once('close', resolve));
    return {
      write: async (message) => {
        if (stream.destroyed || stream.writableEnded)
          throw outcome(method.path, ending) ?? linkDown('the call is over');
        if (stream.write(frame(method.requestSerialize(message)))) return;
        await Promise.race([new Promise<void>((resolve) => stream.once('drain', resolve)), closed]);
      },
      end: () => void stream.end(),
      cancel: () => {
        ending.reason ??= linkDown(`${method.path} was cancelled`);
        stream.close(8);
        stream.destroy();
      },
      [Symbol.asyncIterator]: async function* () {
        let failure: unknown;
        try {
          for await (const bytes of messagesOf(stream as AsyncIterable<Buffer>, LIMITS.messageBytes)) {
            let message: Response;
            try {
              message = method.responseDeserialize(bytes);
            } catch (error) {
              throw new FluviaError(ERROR_CODES.PROTOCOL, 'the peer sent what is no message', {
                cause: error,
              });
            }
            yield message;
          }
        } catch (error) {
          failure = error;
        } finally {
          if (!stream.destroyed) stream.close(failure === undefined ? 0 : 8);
        }
        const error = failure instanceof FluviaError ? failure : outcome(method.path, ending, failure);
        if (error !== undefined) throw error;
      },
    };
  };

  return {
    unary: async (method, request, options = {}) => {
      const call = start(method, { deadlineMs: LIMITS.callMs, ...options });
      const sent = call.write(request).then(() => call.end());
      sent.catch(() => {});
      let answer: { readonly message: unknown } | undefined;
      for await (const message of call) {
        if (answer !== undefined) throw protocolError('two answers to one question');
        answer = { message };
      }
      if (answer === undefined) throw protocolError('no answer');
      return answer.message as ReturnType<typeof method.responseDeserialize>;
    },
    stream: (method, options = {}) => start(method, options),
    isOpen: () => !session.closed && !session.destroyed,
    onClose: (listener) => void session.once('close', listener),
    destroy: () => {
      session.destroy();
      socket.destroy();
    },
  };
};
