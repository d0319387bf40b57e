/** The leader's way to its own cluster's front. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { createFrontClient, type FrontClient } from './front-client.ts';
import type { OwnStore } from './store-controller.ts';

/** A client with this token. Throws UNREACHABLE while there is no front. */
export const ownFront = (store: OwnStore, token: string): FrontClient => {
  const item = store.item();
  if (item === undefined) throw new FluviaError(ERROR_CODES.UNREACHABLE, 'the store is not there');
  const { address, port, caCertificate, serverName } = item;
  return createFrontClient({ address, port, caCertificate, serverName, token });
};
