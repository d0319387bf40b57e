import { connect, type TLSSocket } from 'node:tls';
import type { Pin } from '../api/cluster-id.ts';
import { ERROR_CODES, FluviaError, messageOf } from '../api/errors.ts';
import { remoteKeyOf, type RemoteKey } from './keys.ts';
import type { Identity } from './identity.ts';
import { LIMITS, type ALPN } from './protocol.ts';

/** An application protocol of the listener. */
export type Alpn = (typeof ALPN)[keyof typeof ALPN];

/** Both sides' TLS: version 1.3 only, both show their key, nobody's signature counts: the pin decides. */
export const tlsOptions = (
  identity: Identity,
): {
  readonly key: string;
  readonly cert: string;
  readonly minVersion: 'TLSv1.3';
  readonly rejectUnauthorized: false;
} => ({
  key: identity.keyPem,
  cert: identity.certificatePem,
  minVersion: 'TLSv1.3',
  rejectUnauthorized: false,
});

/** Host and port of `host:port`; IPv6 hosts are in brackets. */
export const splitEndpoint = (endpoint: string): { readonly host: string; readonly port: number } => {
  const colon = endpoint.lastIndexOf(':');
  const host = endpoint.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(endpoint.slice(colon + 1)) };
};

/** An authenticated connection. */
export interface PinnedConnection {
  readonly socket: TLSSocket;
  readonly remote: RemoteKey;
}

/**
 * Dials one endpoint and checks who answers, before any byte of an application protocol is sent.
 * @throws {FluviaError} UNREACHABLE, or PIN_MISMATCH when another key answers.
 */
export const dialPinned = (
  endpoint: string,
  alpn: Alpn,
  pins: readonly Pin[],
  identity: Identity,
  signal: AbortSignal,
): Promise<PinnedConnection> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      ...tlsOptions(identity),
      ...splitEndpoint(endpoint),
      ALPNProtocols: [alpn],
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 15_000);
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError).off('close', onClose).off('secureConnect', onSecure);
      finish();
    };
    const refuse = (error: FluviaError): void =>
      settle(() => {
        socket.on('error', () => {});
        socket.destroy();
        reject(error);
      });
    const unreachable = (why: string, cause?: unknown): FluviaError =>
      new FluviaError(ERROR_CODES.UNREACHABLE, `${endpoint}: ${why}`, {
        hint: 'check that this address and port can be reached from the controller’s pod',
        cause,
      });
    const onAbort = (): void => refuse(unreachable('given up'));
    const onError = (error: Error): void => refuse(unreachable(messageOf(error), error));
    const onClose = (): void => refuse(unreachable('closed during the TLS handshake'));
    const onSecure = (): void => {
      try {
        const remote = remoteKeyOf(socket);
        if (!pins.includes(remote.pin) || socket.alpnProtocol !== alpn) {
          throw new FluviaError(
            ERROR_CODES.PIN_MISMATCH,
            `${endpoint}: another identity answers than the pinned one`,
            {
              kind: 'stalled',
              hint: 'if that cluster was installed anew, unpeer it and peer again; else someone is in between',
            },
          );
        }
        settle(() => resolve({ socket, remote }));
      } catch (error) {
        refuse(error instanceof FluviaError ? error : unreachable(messageOf(error), error));
      }
    };
    const timer = setTimeout(() => onError(new Error(`no answer in ${LIMITS.dialMs} ms`)), LIMITS.dialMs);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('error', onError).on('close', onClose).on('secureConnect', onSecure);
    if (signal.aborted) onAbort();
  });
