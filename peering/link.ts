import type { Socket } from 'node:net';
import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';
import type { Collection, ContainerStreamHandler, ContainerStreamRequest } from '../api/link.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { peeringServices } from '../proto/load.ts';
import type { HelloRequest, HelloResponse } from '../proto/peering.ts';
import type { LinkBudget } from './budget.ts';
import { requestContainerStream } from './container-stream.ts';
import { fabricImplementation } from './fabric-server.ts';
import type { FollowerEnd } from './follower.ts';
import { createGrpcClient, type GrpcClient } from './grpc-client.ts';
import { linkDown, printable } from './grpc-errors.ts';
import { serveOnSocket } from './grpc-server.ts';
import { helloRequest, sayHello } from './hello.ts';
import type { Identity } from './identity.ts';
import { createLinkCollections, type CallingConnection } from './link-collections.ts';
import type { LinkEnd, PeerFacts } from './link-end.ts';
import { chooseProtocol, commonFeatures, FEATURES, LIMITS, PROTOCOL } from './protocol.ts';
import { createLinkTerm, highestTerm, type Term } from './term.ts';

/** One peering's link over up to two connections: one on which this side calls, one on which it serves. */

export interface LinkOptions {
  readonly peer: Peer;
  readonly identity: Identity;
  readonly term: Term;
  readonly clock: Clock;
  readonly log: Logger;
  /** Collections that may be followed before anything published them. */
  readonly collections: readonly Collection[];
  /** Memory for what the peer publishes; given back at the end of the link. */
  readonly budget: LinkBudget;
  readonly containerHandler: () => ContainerStreamHandler | undefined;
  /** Records that the other side has ended the peering; rejects when that failed. */
  readonly onLeft: (how: 'Leave' | 'NotPeered') => Promise<void>;
}

interface Serving {
  readonly socket: Socket;
  lastHeard: number;
  greeted: boolean;
}

const terminal = (code: (typeof ERROR_CODES)[keyof typeof ERROR_CODES], message: string): FluviaError =>
  new FluviaError(code, message, { kind: 'stalled' });

/** Makes a link without connections. */
export const createLink = (options: LinkOptions): LinkEnd => {
  const { identity, clock, onLeft } = options;
  const term = createLinkTerm(options.term);
  const log = options.log.child({ peer: options.peer.metadata.name });
  const { fabric } = peeringServices();
  /** The peering is gone; and, before or without that, this process has stopped to work on it. */
  const closing = new AbortController();
  const stopping = new AbortController();
  const listeners = new Set<() => void>();
  let peer = options.peer;
  let client: CallingConnection | undefined;
  let serving: Serving | undefined;
  let facts: PeerFacts | undefined;
  let seenTerm = peer.status?.leaderTransitions ?? 0;
  let problem: string | undefined;
  let up = false;
  let since = clock.now();
  let lastHeardAt: Date | undefined;
  let lastAnswer: number | undefined;
  let rttMs: number | undefined;

  const tell = (): void => {
    for (const listener of listeners) {
      try {
        listener();
      } catch (err) {
        log.error('a listener of the link failed', { err });
      }
    }
  };

  const collections = createLinkCollections({
    known: options.collections,
    clock,
    log,
    signal: stopping.signal,
    connection: () => client,
    budget: options.budget,
    onChange: tell,
  });

  /** Up is when each side has answered the other within the limit. */
  const judge = (): void => {
    const now = clock.monotonicMs();
    const fresh = (at: number | undefined): boolean => at !== undefined && now - at <= LIMITS.silenceMs;
    const next = fresh(client?.lastHeard) && serving?.greeted === true && fresh(serving.lastHeard);
    if (next === up) return;
    up = next;
    since = clock.now();
    if (up) problem = undefined;
    log.info(up ? 'the link is up' : 'the link is down', { reason: problem });
    tell();
  };

  const fail = (error: unknown): void => {
    const text = messageOf(error);
    if (problem === text) return;
    problem = text;
    log.warn('the link has a problem', { err: error });
    tell();
  };

  const learn = (said: HelloResponse | HelloRequest, protocol: number): void => {
    if (said.clusterId !== peer.spec.clusterID) {
      throw terminal(ERROR_CODES.PIN_MISMATCH, 'the other end claims another cluster ID than its key has');
    }
    seenTerm = highestTerm(seenTerm, said.leaderTransitions);
    facts = {
      name: printable(said.name, 63),
      version: printable(said.version, 64),
      protocol,
      features: commonFeatures(FEATURES, said.features.slice(0, 64)),
      leaderTransitions: said.leaderTransitions,
      clusterUID: printable(said.clusterUid, 64),
    };
  };

  const isCurrent = (mine: CallingConnection): boolean => client === mine && mine.grpc.isOpen();

  const pingOn = async (mine: CallingConnection): Promise<void> => {
    while (isCurrent(mine)) {
      const begun = clock.monotonicMs();
      try {
        await mine.grpc.unary(fabric.Ping, {}, { deadlineMs: LIMITS.silenceMs });
        const now = clock.monotonicMs();
        mine.lastHeard = now;
        lastAnswer = now;
        lastHeardAt = clock.now();
        rttMs = rttMs === undefined ? now - begun : rttMs * 0.8 + (now - begun) * 0.2;
      } catch (error) {
        fail(error);
      }
      judge();
      if (clock.monotonicMs() - mine.lastHeard > LIMITS.silenceMs) {
        fail(linkDown(`no answer for ${LIMITS.silenceMs / 1000} s`));
        mine.grpc.destroy();
        return;
      }
      await clock.sleep(LIMITS.pingEveryMs, stopping.signal);
    }
  };

  const askHello = async (grpc: GrpcClient): Promise<HelloResponse> => {
    try {
      return await sayHello(grpc, identity, term, { deadlineMs: LIMITS.silenceMs }, (seen) =>
        log.info('the peer remembers a higher leader term: going above it', { seen }),
      );
    } catch (error) {
      if (error instanceof FluviaError && error.code === ERROR_CODES.NOT_PEERED)
        onLeft('NotPeered').catch(() => undefined); // the next dial is told again
      throw error;
    }
  };

  const greet = async (grpc: GrpcClient): Promise<void> => {
    const said = await askHello(grpc);
    const protocol = chooseProtocol(PROTOCOL, { min: said.protocol, max: said.protocol });
    if (protocol === undefined) {
      throw terminal(ERROR_CODES.PROTOCOL, `the peer chose protocol ${said.protocol}, unknown here`);
    }
    learn(said, protocol);
  };

  const attachClient = async (socket: Socket): Promise<void> => {
    const grpc = createGrpcClient(socket);
    const closed = new Promise<void>((resolve) => grpc.onClose(resolve));
    if (stopping.signal.aborted || peer.spec.paused) grpc.destroy();
    try {
      await greet(grpc);
    } catch (error) {
      fail(error);
      grpc.destroy();
      return;
    }
    const now = clock.monotonicMs();
    const mine: CallingConnection = { grpc, lastHeard: now };
    // The newest connection counts: the one before is a leftover of a break that this side hasn't noticed.
    client?.grpc.destroy();
    client = mine;
    lastAnswer = now;
    lastHeardAt = clock.now();
    judge();
    void pingOn(mine);
    collections.resume(mine);
    await closed;
    if (client === mine) client = undefined;
    judge();
  };

  const hello = (mine: Serving, request: HelloRequest): HelloResponse => {
    const protocol = chooseProtocol(PROTOCOL, { min: request.minProtocol, max: request.maxProtocol });
    if (protocol === undefined) {
      throw terminal(
        ERROR_CODES.PROTOCOL,
        `protocols ${request.minProtocol}–${request.maxProtocol} there and ${PROTOCOL.min}–${PROTOCOL.max} here have none in common`,
      );
    }
    learn(request, protocol);
    mine.greeted = true;
    if (serving !== mine) {
      serving?.socket.destroy();
      serving = mine;
    }
    const { minProtocol: _min, maxProtocol: _max, ...own } = helloRequest(identity, term);
    return { ...own, protocol, features: facts?.features ?? [] };
  };

  const serveContainerStream = (request: ContainerStreamRequest, signal: AbortSignal) => {
    const handler = options.containerHandler();
    if (handler === undefined) {
      throw new FluviaError(ERROR_CODES.NOT_FOUND, 'this cluster serves no container streams');
    }
    return handler(link, request, signal);
  };

  const attachServer = (socket: Socket): void => {
    if (stopping.signal.aborted || peer.spec.paused) {
      socket.destroy();
      return;
    }
    const mine: Serving = { socket, lastHeard: clock.monotonicMs(), greeted: false };
    const implementation = fabricImplementation({
      hello: (request) => hello(mine, request),
      heard: () => {
        mine.lastHeard = clock.monotonicMs();
        judge();
      },
      publisher: (name) => collections.publisherNamed(name),
      followerProblem: (name, text) => collections.followerProblem(name, text),
      serveContainerStream: async (request, signal) => serveContainerStream(request, signal),
      leave: () => onLeft('Leave'),
      log,
    });
    socket.once('close', () => {
      if (serving === mine) serving = undefined;
      judge();
    });
    serveOnSocket(socket, [{ definition: fabric, implementation }], {
      messageBytes: LIMITS.messageBytes / 4,
      streams: LIMITS.streams,
    });
    // A connection that doesn't say Hello holds memory for nothing.
    const cancel = clock.after(LIMITS.callMs, () => mine.greeted || socket.destroy());
    socket.once('close', cancel);
  };

  const disconnect = (why: string): void => {
    problem = why;
    client?.grpc.destroy();
    serving?.socket.destroy();
    client = undefined;
    serving = undefined;
    judge();
  };

  const link: LinkEnd = {
    peer: peer.metadata.name,
    clusterID: peer.spec.clusterID,
    signal: closing.signal,
    isUp: () => up,
    silenceMs: () => (lastAnswer === undefined ? Infinity : clock.monotonicMs() - lastAnswer),
    onStateChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    publish: (collection) => collections.publisher(collection),
    follow: (collection) => collections.follower(collection) as FollowerEnd<never>,
    openContainerStream: async (request, signal) => {
      if (client === undefined) throw linkDown(`the link to ${peer.metadata.name} is down`);
      const call = client.grpc.stream(fabric.ContainerStream, { signal });
      return requestContainerStream(
        { frames: call, write: (f) => call.write(f), end: () => call.end(), cancel: () => call.cancel() },
        request,
      );
    },
    attachClient,
    attachServer,
    snapshot: () => ({
      up,
      since,
      lastHeardAt,
      rttMs,
      facts,
      problem: up ? undefined : problem,
      refused: collections.refused(),
      heldBytes: options.budget.held(),
    }),
    update: (newest) => {
      peer = newest;
      seenTerm = Math.max(seenTerm, newest.status?.leaderTransitions ?? 0);
      if (peer.spec.paused) disconnect('the peering is paused');
    },
    disconnect,
    dialFailed: (error) => up || fail(error),
    leave: async () => {
      try {
        if (client === undefined) return false;
        await client.grpc.unary(fabric.Leave, {}, { deadlineMs: 3000 });
        return true;
      } catch (err) {
        log.info('the peer could not be told of the end of the peering', { err });
        return err instanceof FluviaError && err.code === ERROR_CODES.NOT_PEERED;
      }
    },
    stop: () => {
      stopping.abort();
      disconnect('this controller has stopped');
    },
    close: () => {
      stopping.abort();
      disconnect('the peering has ended');
      options.budget.close();
      closing.abort(linkDown('the peering has ended'));
      tell();
    },
  };
  return link;
};
