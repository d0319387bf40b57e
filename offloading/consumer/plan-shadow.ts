import type { SHADOW_STATUS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import { controllerOf } from '../../api/owners.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { isTerminal } from './plan-status.ts';

/** What is decided about one home pod that is bound to a virtual node. */
export interface ShadowWorld {
  readonly pod: Pod;
  /** Whether its namespace is open, or closing. */
  readonly isOpen: boolean;
  /** Whether a link to the peer exists; it needn't be up. */
  readonly hasLink: boolean;
  /** Whether the peering ends or has ended and the peer can't be asked any more. */
  readonly isPeerGone: boolean;
  /** The provider's word about this very pod (same UID). */
  readonly told: ItemOf<typeof SHADOW_STATUS> | undefined;
}

/**
 * `publish`: keep its item. `withdraw`: it must not run there. `forget`: force-delete it at home, it runs nowhere.
 * `replace`: delete it, for its owner to make again elsewhere. `hold`: keep its item; it stays Pending and says why. `fail`:
 * end it with a reason.
 */
export type ShadowAction =
  | { readonly do: 'publish' | 'withdraw' | 'forget' | 'wait' }
  | { readonly do: 'replace' | 'hold' | 'fail'; readonly reason: string; readonly message: string };

const hasNotBegun = ({ status }: Pod): boolean => (status?.phase ?? 'Pending') === 'Pending';

/** What to do about a pod on a virtual node. */
export const planShadow = ({ pod, isOpen, hasLink, isPeerGone, told }: ShadowWorld): ShadowAction => {
  const isDeleting = pod.metadata.deletionTimestamp !== undefined;
  const isStray = !isOpen || controllerOf(pod)?.kind === 'DaemonSet';
  if (isStray) return { do: isDeleting ? 'forget' : 'withdraw' };
  if (isPeerGone && isDeleting) return { do: 'forget' };
  if (!hasLink) return { do: 'wait' };
  const isOver = told?.state === 'gone' || told?.state === 'refused';
  if (isDeleting) return { do: isOver ? 'forget' : 'publish' };
  if (isOver && !isTerminal(pod.status?.phase)) {
    const message = told.message ?? (told.state === 'gone' ? 'the peer removed it' : 'the peer refused it');
    const reason = told.reason ?? (told.state === 'gone' ? 'PeerRemoved' : 'PeerRefused');
    if (told.state === 'refused' && controllerOf(pod) !== undefined)
      return { do: 'replace', reason, message };
    // Nobody would make it again, and a pod that is bound can't be placed elsewhere: the peer tries it until it fits.
    const isPassing = told.state === 'refused' && told.passing === true && hasNotBegun(pod);
    return { do: isPassing ? 'hold' : 'fail', reason, message };
  }
  return { do: 'publish' };
};
