import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { ContainerStreamRequest, ContainerStreamResponse } from '../api/link.ts';
import type { Logger } from '../runtime/log.ts';
import type {
  Empty,
  FollowEvent,
  FollowRequest,
  Frame,
  Have,
  HelloRequest,
  HelloResponse,
} from '../proto/peering.ts';
import { answerContainerStream, type FrameChannel } from './container-stream.ts';
import { hashText } from './follower.ts';
import { linkDown, printable, toServiceError } from './grpc-errors.ts';
import { LIMITS } from './protocol.ts';
import type { PublisherEnd } from './publisher.ts';

/** What a link lets its peer do; serves one connection. */
export interface FabricBackend {
  /** @throws {FluviaError} when the peer is refused. */
  hello(request: HelloRequest): HelloResponse;
  /** Called for every call after Hello: the peer is there. */
  heard(): void;
  /** The peer says why it can't follow a collection that {@link publisher} knows; empty: it can. */
  followerProblem(collection: string, problem: string): void;
  /** @throws {FluviaError} NOT_FOUND when this side has no such collection. */
  publisher(collection: string): { readonly end: PublisherEnd<unknown>; readonly maxItems: number };
  serveContainerStream(
    request: ContainerStreamRequest,
    signal: AbortSignal,
  ): Promise<ContainerStreamResponse>;
  /** Resolves once the end of the peering is recorded here, so that a crash after it loses nothing. */
  leave(): Promise<void>;
  readonly log: Logger;
}

type Unary<Request, Response> = (
  call: ServerUnaryCall<Request, Response>,
  callback: sendUnaryData<Response>,
) => void;

const unary =
  <Request, Response>(answer: (request: Request) => Response): Unary<Request, Response> =>
  (call, callback) => {
    try {
      callback(null, answer(call.request));
    } catch (error) {
      callback(toServiceError(error));
    }
  };

const roomIn = <Request, Response>(call: ServerDuplexStream<Request, Response>): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done).off('cancelled', done).off('close', done);
      resolve();
    };
    call.on('drain', done).on('cancelled', done).on('close', done);
  });

const fail = <Request, Response>(call: ServerDuplexStream<Request, Response>, error: unknown): void => {
  if (!call.cancelled) call.emit('error', toServiceError(error));
};

/** What the followers on one connection hold here. */
interface Following {
  /** Bytes of what they said they have. */
  held: number;
  /** Collection → the one who follows it. */
  readonly calls: Map<string, FollowCall>;
}

type FollowCall = ServerDuplexStream<FollowRequest, FollowEvent>;

/** What an entry of a map takes beside its texts, about. */
const ENTRY_BYTES = 64;

/** Refuses what no follower of Fluvia says before it is kept: it would be held as long as the stream lasts. */
const checkHave = (collection: string, { id, hash }: Have): void => {
  const wrong =
    id.length === 0 || id.length > LIMITS.idLength
      ? `an id of ${id.length} characters`
      : hash.length > LIMITS.hashBytes
        ? `a hash of ${hash.length} bytes`
        : undefined;
  if (wrong === undefined) return;
  throw new FluviaError(ERROR_CODES.BAD_INPUT, `the follower of ${printable(collection, 64)} has ${wrong}`);
};

/** Reads what the follower has, up to `ready`. */
const readHave = async (
  call: FollowCall,
  backend: FabricBackend,
  following: Following,
): Promise<{
  readonly collection: string;
  readonly end: PublisherEnd<unknown>;
  readonly have: ReadonlyMap<string, string>;
}> => {
  const have = new Map<string, string>();
  let found: ReturnType<FabricBackend['publisher']> | undefined;
  let held = 0;
  const giveBack = (): void => {
    following.held -= held;
    held = 0;
  };
  call.on('cancelled', giveBack).on('close', giveBack).on('error', giveBack);
  for await (const request of call.iterator({ destroyOnReturn: false }) as AsyncIterable<FollowRequest>) {
    if (found === undefined) {
      found = backend.publisher(request.collection);
      backend.followerProblem(request.collection, request.problem ?? '');
    }
    for (const one of request.have) {
      checkHave(request.collection, one);
      const bytes = one.id.length + ENTRY_BYTES;
      if (following.held + bytes > LIMITS.haveBytes || have.size >= found.maxItems * 2 + 1000) {
        throw new FluviaError(
          ERROR_CODES.BAD_INPUT,
          `the follower of ${printable(request.collection, 64)} has too many items`,
        );
      }
      held += bytes;
      following.held += bytes;
      have.set(one.id, hashText(one.hash));
    }
    if (request.ready) return { collection: request.collection, end: found.end, have };
  }
  throw linkDown('the follower went away');
};

const serveFollow = async (call: FollowCall, backend: FabricBackend, following: Following): Promise<void> => {
  const { collection, end, have } = await readHave(call, backend, following);
  // One at a time: each session holds an entry for every item, on both sides of it.
  const before = following.calls.get(collection);
  if (before !== undefined)
    fail(before, new FluviaError(ERROR_CODES.CONFLICT, `${collection} is followed anew`));
  following.calls.set(collection, call);
  const session = end.session(have);
  // Nothing more is expected from the follower, but its half-close must be read.
  call.resume();
  let pumping = false;
  const isOver = (): boolean => call.cancelled || call.destroyed;
  const pump = async (): Promise<void> => {
    if (pumping) return;
    pumping = true;
    try {
      for (let event = session.next(); event !== undefined && !isOver(); event = session.next()) {
        if (!call.write(event)) await roomIn(call);
      }
    } finally {
      pumping = false;
    }
  };
  const close = (): void => {
    session.close();
    if (following.calls.get(collection) === call) following.calls.delete(collection);
  };
  call.on('cancelled', close).on('close', close).on('error', close);
  // Changes of one turn of the event loop go together.
  session.onReady(() => void setImmediate(() => void pump()));
  await pump();
};

const channelOf = (call: ServerDuplexStream<Frame, Frame>): FrameChannel => ({
  frames: call.iterator({ destroyOnReturn: false }) as AsyncIterable<Frame>,
  write: async (frame) => {
    if (call.cancelled || call.destroyed) throw linkDown('the caller went away');
    if (!call.write(frame)) await roomIn(call);
  },
  end: () => void (call.cancelled || call.end()),
  cancel: () => fail(call, linkDown('the container stream was closed')),
});

/** The implementation of `Fabric` for one connection. */
export const fabricImplementation = (backend: FabricBackend): object => {
  let greeted = false;
  let streams = 0;
  const following: Following = { held: 0, calls: new Map() };
  const afterHello = (): void => {
    if (!greeted) {
      throw new FluviaError(ERROR_CODES.PROTOCOL, 'Hello comes first', { kind: 'terminal' });
    }
    backend.heard();
  };
  return {
    Hello: unary<HelloRequest, HelloResponse>((request) => {
      const response = backend.hello(request);
      greeted = true;
      backend.heard();
      return response;
    }),
    Ping: unary<Empty, Empty>(() => {
      afterHello();
      return {};
    }),
    Leave: (_call: ServerUnaryCall<Empty, Empty>, callback: sendUnaryData<Empty>): void => {
      const leave = async (): Promise<void> => {
        afterHello();
        await backend.leave();
      };
      leave().then(
        () => callback(null, {}),
        (error: unknown) => callback(toServiceError(error)),
      );
    },
    Follow: (call: ServerDuplexStream<FollowRequest, FollowEvent>): void => {
      const follow = async (): Promise<void> => {
        afterHello();
        await serveFollow(call, backend, following);
      };
      follow().catch((error: unknown) => fail(call, error));
    },
    ContainerStream: (call: ServerDuplexStream<Frame, Frame>): void => {
      const controller = new AbortController();
      const stop = (): void => controller.abort(linkDown('the caller went away'));
      call.on('cancelled', stop).on('error', stop);
      const serve = async (): Promise<void> => {
        afterHello();
        if (streams >= LIMITS.streams / 2) {
          throw new FluviaError(ERROR_CODES.QUOTA_EXCEEDED, 'too many container streams at once');
        }
        streams += 1;
        try {
          await answerContainerStream(channelOf(call), (request) =>
            backend.serveContainerStream(request, controller.signal),
          );
        } finally {
          streams -= 1;
          stop();
        }
      };
      serve().catch((error: unknown) => fail(call, error));
    },
  };
};
