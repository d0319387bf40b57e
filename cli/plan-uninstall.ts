import { ERROR_CODES, FluviaError } from '../api/errors.ts';

/** What still stands on the fabric. */
export interface Remains {
  readonly peers: readonly string[];
  /** Namespaces of this cluster that are open to peers. */
  readonly openNamespaces: readonly string[];
  /** Namespaces here that hold pods of another cluster. */
  readonly twins: readonly string[];
}

const some = (names: readonly string[]): string =>
  names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;

/** Why Fluvia can't be removed yet, with the command that helps; undefined when it can. `flag` is the kubeconfig's. */
export const uninstallObstacle = (remains: Remains, flag: string): FluviaError | undefined => {
  const { peers, openNamespaces, twins } = remains;
  const [namespace] = openNamespaces;
  const [peer] = peers;
  if (namespace !== undefined) {
    return new FluviaError(
      ERROR_CODES.CONFLICT,
      `namespaces are still open to peers: ${some(openNamespaces)}`,
      {
        kind: 'stalled',
        hint: `close them first: fluviactl unoffload namespace ${namespace}${flag}`,
      },
    );
  }
  if (peer !== undefined) {
    return new FluviaError(ERROR_CODES.CONFLICT, `this cluster still has peers: ${some(peers)}`, {
      kind: 'stalled',
      hint: `part from them first: fluviactl unpeer ${peer}${flag}`,
    });
  }
  if (twins.length > 0) {
    return new FluviaError(
      ERROR_CODES.CONFLICT,
      `namespaces still hold pods of former peers: ${some(twins)}`,
      {
        kind: 'stalled',
        hint: `they go by themselves after unpeering; else look at them and delete them: kubectl delete namespace ${twins[0] ?? ''}`,
      },
    );
  }
  return undefined;
};
