/** What an error of a call made as a peering means. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { ApiError } from '../../runtime/kube/errors.ts';

/** A 403 that heals by itself: the RoleBinding or the default ServiceAccount of a new twin isn't known everywhere yet. */
const isNotYet = (error: ApiError): boolean =>
  error.status === 403 &&
  /cannot \w+ resource|error looking up service account|is being terminated|not yet ready to handle/.test(
    error.message,
  );

/** Whether this cluster's admission or validation refuses the object itself: trying again changes nothing. */
export const isRefusal = (error: unknown): error is ApiError =>
  error instanceof ApiError && [400, 403, 422].includes(error.status) && !isNotYet(error);

/**
 * Runs a call as a peering; a refusal for lack of rights becomes an error that is tried again soon.
 * @throws {FluviaError} FORBIDDEN, waiting.
 */
export const asPeeringCall = async <T>(call: () => Promise<T>): Promise<T> => {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ApiError && isNotYet(error)) {
      throw new FluviaError(ERROR_CODES.FORBIDDEN, error.message, {
        kind: 'waiting',
        cause: error,
        hint: 'the RoleBinding fluvia-peering of the twin must bind the peering’s ServiceAccount',
      });
    }
    throw error;
  }
};
