import { duplexPair, type Duplex } from 'node:stream';
import { z } from 'zod';
import { DnsLabel, DnsSubdomain } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError, messageOf, type ErrorCode } from '../api/errors.ts';
import type { ContainerStreamRequest, ContainerStreamResponse } from '../api/link.ts';
import type { Frame } from '../proto/peering.ts';
import { linkDown, printable } from './grpc-errors.ts';
import { parsePeerJson } from './items.ts';
import { LIMITS } from './protocol.ts';

/** Carries one {@link ContainerStreamRequest} over frames: an opening each way, then bytes both ways. */

/** Frames each way, with backpressure; a gRPC call at either end. */
export interface FrameChannel {
  readonly frames: AsyncIterable<Frame>;
  /** Resolves when there is room for more. */
  write(frame: Frame): Promise<void>;
  end(): void;
  cancel(): void;
}

const Headers = z.record(z.string().max(256), z.string().max(8192));

const Request = z.object({
  verb: z.enum(['logs', 'exec', 'attach', 'portForward']),
  namespace: DnsLabel,
  pod: DnsSubdomain,
  podUID: z.string().min(1).max(64),
  container: DnsLabel.optional(),
  query: z.record(z.string().max(256), z.array(z.string().max(65536)).max(1000)),
  headers: Headers,
});

const Response = z.object({ status: z.number().int().min(100).max(599), headers: Headers });

const CODES = new Set<string>(Object.values(ERROR_CODES));

const errorOfFailure = (failure: { readonly code: string; readonly message: string }): FluviaError =>
  new FluviaError(
    CODES.has(failure.code) ? (failure.code as ErrorCode) : ERROR_CODES.PROTOCOL,
    printable(failure.message) || 'the peer refused the request',
  );

const failureOf = (error: unknown): Frame => ({
  failure:
    error instanceof FluviaError
      ? { code: error.code, message: error.message.slice(0, 1000) }
      : { code: ERROR_CODES.INTERNAL, message: 'the other cluster failed; see its log' },
});

const parseOpen = <S extends z.ZodType>(schema: S, frame: Frame): z.infer<S> => {
  if (frame.failure !== undefined) throw errorOfFailure(frame.failure);
  const parsed = frame.open === undefined ? undefined : schema.safeParse(parsePeerJson(frame.open));
  if (!parsed?.success) {
    throw new FluviaError(ERROR_CODES.PROTOCOL, 'the peer opened a container stream wrongly', {
      cause: parsed?.error,
    });
  }
  return parsed.data;
};

const openFrame = (value: unknown): Frame => ({ open: Buffer.from(JSON.stringify(value), 'utf8') });

const closed = (stream: Duplex): Promise<void> =>
  new Promise((resolve) => (stream.closed ? resolve() : stream.once('close', resolve)));

/** Resolves when the stream takes more, or is closed. */
const roomIn = (stream: Duplex): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });

/** `logs` flow one way: the callee's stream is only read. */
const isOneWay = (request: ContainerStreamRequest): boolean => request.verb === 'logs';

const readInto = async (frames: AsyncIterator<Frame>, body: Duplex, readOnly: boolean): Promise<void> => {
  let ended = false;
  for (let step = await frames.next(); step.done !== true; step = await frames.next()) {
    const { data, end, failure } = step.value;
    if (failure !== undefined) throw errorOfFailure(failure);
    if (end === true) {
      ended = true;
      if (!readOnly) body.end();
    } else if (data !== undefined && !readOnly && !ended && !body.destroyed && !body.write(data)) {
      await roomIn(body);
    }
  }
  if (!ended) throw linkDown('the container stream broke off');
};

const writeFrom = async (body: Duplex, channel: FrameChannel): Promise<void> => {
  for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += LIMITS.frameBytes) {
      await channel.write({ data: chunk.subarray(at, at + LIMITS.frameBytes) });
    }
  }
  await channel.write({ end: true });
};

/** Moves bytes between the channel and `body` until both directions have ended or either end is gone. */
const splice = async (
  frames: AsyncIterator<Frame>,
  channel: FrameChannel,
  body: Duplex,
  side: { readonly readOnly: boolean; readonly isCaller: boolean },
): Promise<void> => {
  // Errors are told by the promises below; a listener keeps them from ending the process.
  body.on('error', () => {});
  void closed(body).then(() => {
    if (!body.readableEnded || (!side.readOnly && !body.writableFinished)) channel.cancel();
  });
  // gRPC's callee ends a call as a whole, so only the caller half-closes.
  const written = writeFrom(body, channel).then(() => side.isCaller && channel.end());
  try {
    await Promise.all([readInto(frames, body, side.readOnly), written]);
  } catch (error) {
    channel.cancel();
    body.destroy(error instanceof Error ? error : linkDown(messageOf(error)));
  }
};

/**
 * Asks the peer for a stream.
 * @throws {FluviaError} what the peer refused it with, or LINK_DOWN.
 */
export const requestContainerStream = async (
  channel: FrameChannel,
  request: ContainerStreamRequest,
): Promise<ContainerStreamResponse> => {
  const frames = channel.frames[Symbol.asyncIterator]();
  try {
    await channel.write(openFrame(request));
    const first = await frames.next();
    if (first.done === true) throw linkDown('the peer answered nothing');
    const response = parseOpen(Response, first.value);
    const [ours, theirs] = duplexPair();
    ours.on('error', () => {});
    ours.once('close', () => theirs.destroy());
    theirs.once('close', () => {
      if (theirs.errored !== null) ours.destroy(theirs.errored);
    });
    if (isOneWay(request)) ours.end();
    void splice(frames, channel, theirs, { readOnly: false, isCaller: true });
    return { ...response, body: ours };
  } catch (error) {
    channel.cancel();
    throw error;
  }
};

/** Answers one request of the peer by `serve`; resolves when it is over, never rejects. */
export const answerContainerStream = async (
  channel: FrameChannel,
  serve: (request: ContainerStreamRequest) => Promise<ContainerStreamResponse>,
): Promise<void> => {
  const frames = channel.frames[Symbol.asyncIterator]();
  try {
    const first = await frames.next();
    if (first.done === true) return;
    const { container, ...rest } = parseOpen(Request, first.value);
    const request = { ...rest, ...(container === undefined ? {} : { container }) };
    const response = await serve(request);
    await channel.write(openFrame({ status: response.status, headers: response.headers }));
    await splice(frames, channel, response.body, { readOnly: isOneWay(request), isCaller: false });
  } catch (error) {
    await channel.write(failureOf(error)).catch(() => {});
  }
  channel.end();
};
