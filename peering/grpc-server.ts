import type { Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { LIMITS } from './protocol.ts';

/** Serves gRPC on one established connection; the server lives and dies with it, so handlers know whom they answer. */

export interface ServedService {
  readonly definition: object;
  readonly implementation: object;
}

/** Hands an authenticated connection to a gRPC server of its own. Destroy the socket to end it. */
export const serveOnSocket = (
  socket: Socket,
  services: readonly ServedService[],
  limits: { readonly messageBytes: number; readonly streams: number },
): void => {
  const server = new Server({
    'grpc.max_receive_message_length': limits.messageBytes,
    'grpc.max_send_message_length': LIMITS.messageBytes,
    'grpc.max_concurrent_streams': limits.streams,
    'grpc-node.max_session_memory': LIMITS.sessionMemoryMiB,
    'grpc.keepalive_time_ms': LIMITS.keepaliveMs,
    'grpc.keepalive_timeout_ms': LIMITS.keepaliveTimeoutMs,
    'grpc.enable_channelz': 0,
  });
  for (const service of services) {
    server.addService(
      service.definition as ServiceDefinition,
      service.implementation as UntypedServiceImplementation,
    );
  }
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  socket.on('error', () => {});
  socket.once('close', () => {
    injector.destroy();
    server.forceShutdown();
  });
  injector.injectConnection(socket);
};
