/** What `unoffload` says of a namespace that it closed. Pure. */
import { STORAGE_CLASS, VOLUME_CONDITION } from '../api/storage-names.ts';
import type { PersistentVolumeClaim } from '../runtime/kube/storage-types.ts';

const isAtHome = ({ status }: PersistentVolumeClaim): boolean =>
  status?.conditions?.some(({ type, reason }) => type === VOLUME_CONDITION && reason === 'AtHome') === true;

/** What closing a namespace means for its pods, whatever its strategy was. */
export const closedText = (
  name: string,
  isDone: boolean,
  claims: readonly PersistentVolumeClaim[],
): string => {
  const volumes = claims.filter((claim) => claim.spec.storageClassName === STORAGE_CLASS && !isAtHome(claim));
  const names = volumes.map(({ metadata }) => metadata.name).toSorted();
  const first = isDone
    ? `Namespace ${name} is closed: none of its pods is at a peer any more.`
    : `Namespace ${name} is closing: its pods are leaving the peers.`;
  const then = 'What their owners make anew starts at home; bare pods that were at a peer do not come back.';
  const but =
    names.length === 0
      ? ''
      : ` Pods with a fluvia volume (${names.join(', ')}) wait while it is at a peer: open the namespace again for them; fluviactl move volume takes it home.`;
  return `${first} ${then}${but}\n`;
};
