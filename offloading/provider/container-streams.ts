/** Serves logs, exec, attach and port-forward of a consumer's own containers; nothing else in this cluster is reachable. */
import { Duplex } from 'node:stream';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import type {
  ContainerStreamHandler,
  ContainerStreamRequest,
  ContainerStreamResponse,
  PeerLink,
} from '../../api/link.ts';
import { ApiError } from '../../runtime/kube/errors.ts';
import type { ProviderContext } from './context.ts';
import { containerNames } from './plan-pod.ts';
import { cleanText } from './plan-status.ts';
import { planStream, type StreamTarget } from './plan-stream.ts';
import { observeShadow } from './shadow-state.ts';

/** Headers of an answer that mean something to the caller. */
const ANSWER_HEADERS = [
  'upgrade',
  'connection',
  'x-stream-protocol-version',
  'sec-websocket-accept',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
  'content-type',
] as const;

const notFound = (message: string): FluviaError =>
  new FluviaError(ERROR_CODES.NOT_FOUND, message, {
    kind: 'terminal',
    hint: 'wait until the pod runs at the peer, then try again',
  });

/** The pod behind a request, if it is the caller's own. */
const findTarget = (
  context: ProviderContext,
  link: PeerLink,
  request: ContainerStreamRequest,
): StreamTarget => {
  const { shadow, pod, twin } = observeShadow(
    context,
    `${link.clusterID}/${request.namespace}/${request.pod}`,
  );
  const isOwn =
    shadow !== undefined &&
    pod !== undefined &&
    twin !== undefined &&
    shadow.spec.home.clusterID === link.clusterID &&
    shadow.spec.home.uid === request.podUID &&
    pod.metadata.ownerReferences?.some(({ uid }) => uid === shadow.metadata.uid) === true;
  if (!isOwn) throw notFound(`pod ${request.namespace}/${request.pod} has no pod here`);
  const names = containerNames(shadow.spec.pod.spec);
  if (request.verb !== 'portForward' && request.container === undefined) {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, 'a container must be named', { kind: 'terminal' });
  }
  if (request.container !== undefined && !names.has(request.container)) {
    throw notFound(
      `pod ${request.namespace}/${request.pod} has no container ${cleanText(request.container, 63)}`,
    );
  }
  return {
    namespace: twin,
    pod: shadow.metadata.name,
    container: request.verb === 'portForward' ? undefined : request.container,
  };
};

const answerHeaders = (
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> =>
  Object.fromEntries(
    ANSWER_HEADERS.flatMap((name): [string, string][] => {
      const value = headers[name];
      return value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]];
    }),
  );

/** What the API server answered instead of an upgrade, as the kubelet would have said it. */
const refusalOf = (error: ApiError): ContainerStreamResponse => ({
  status: error.status === 0 ? 502 : error.status,
  headers: { 'content-type': 'text/plain; charset=utf-8' },
  body: Duplex.from([Buffer.from(`${cleanText(error.message) ?? ''}\n`)]),
});

const openLogs = async (
  context: ProviderContext,
  link: PeerLink,
  path: string,
  signal: AbortSignal,
): Promise<ContainerStreamResponse> => {
  const answer = await context.asPeering(link.clusterID).raw('GET', path, { signal });
  const { body } = answer;
  const stream = Duplex.from(body);
  // An abort is reported here as well as to the caller; without a listener it would end the process.
  stream.on('error', () => body.destroy());
  stream.once('close', () => body.destroy());
  return { status: answer.status, headers: answerHeaders(answer.headers), body: stream };
};

const openUpgrade = async (
  context: ProviderContext,
  link: PeerLink,
  plan: ReturnType<typeof planStream>,
  signal: AbortSignal,
): Promise<ContainerStreamResponse> => {
  const { method, path, headers } = plan;
  const upgraded = await context.asPeering(link.clusterID).upgrade(method, path, headers, signal);
  const { socket, head } = upgraded;
  if (head.length > 0) socket.unshift(head);
  const abort = (): void => void socket.destroy();
  signal.addEventListener('abort', abort, { once: true });
  socket.on('error', abort);
  socket.once('close', () => signal.removeEventListener('abort', abort));
  if (signal.aborted) abort();
  return { status: upgraded.status, headers: answerHeaders(upgraded.headers), body: socket };
};

/**
 * The handler for `links.handleContainerStreams`.
 * @throws {FluviaError} NOT_FOUND when the pod or the container isn't the caller's own, BAD_INPUT without a container.
 */
export const createContainerStreamHandler =
  (context: ProviderContext): ContainerStreamHandler =>
  async (link, request, signal) => {
    // A peering that goes takes its streams with it.
    const ends = AbortSignal.any([signal, link.signal]);
    ends.throwIfAborted();
    const plan = planStream(request, findTarget(context, link, request));
    try {
      return request.verb === 'logs'
        ? await openLogs(context, link, plan.path, ends)
        : await openUpgrade(context, link, plan, ends);
    } catch (error) {
      ends.throwIfAborted();
      if (error instanceof ApiError) return refusalOf(error);
      throw error;
    }
  };
