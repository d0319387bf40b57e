/** Which labels and annotations of a consumer's object may stand on an object of this cluster. Pure. */

const NAME = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$/;
const VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
const PREFIX = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Domains whose labels controllers of this cluster obey: nobody else may write them. */
const RESERVED_DOMAINS = [
  'kubernetes.io',
  'k8s.io',
  'fluvia.dev',
  'istio.io',
  'linkerd.io',
  'cilium.io',
  'openshift.io',
  'kyverno.io',
  'gatekeeper.sh',
  'azure.workload.identity',
  'cert-manager.io',
  'argoproj.io',
  'fluxcd.io',
] as const;

/** Labels under reserved domains that only describe, and that selectors of Services often use. */
const SAFE_LABELS = new Set([
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'batch.kubernetes.io/job-name',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-completion-index',
]);
const SAFE_PREFIXES = ['app.kubernetes.io'];

/** Annotations with a prefix that only describe. */
const SAFE_ANNOTATIONS = new Set([
  'kubectl.kubernetes.io/default-container',
  'kubectl.kubernetes.io/default-logs-container',
  'kubectl.kubernetes.io/restartedAt',
  'batch.kubernetes.io/job-completion-index',
]);

const MAX_ANNOTATION_BYTES = 128 * 1024;

const split = (key: string): { readonly prefix: string | undefined; readonly name: string } => {
  const slash = key.indexOf('/');
  return slash < 0
    ? { prefix: undefined, name: key }
    : { prefix: key.slice(0, slash), name: key.slice(slash + 1) };
};

const isKey = (key: string): boolean => {
  const { prefix, name } = split(key);
  return NAME.test(name) && (prefix === undefined || PREFIX.test(prefix));
};

const isReserved = (prefix: string): boolean =>
  RESERVED_DOMAINS.some((domain) => prefix === domain || prefix.endsWith(`.${domain}`));

const mayLabel = (key: string): boolean => {
  const { prefix } = split(key);
  return (
    prefix === undefined || SAFE_LABELS.has(key) || SAFE_PREFIXES.includes(prefix) || !isReserved(prefix)
  );
};

/** Whether text is the value of a label. */
export const isLabelValue = (value: string): boolean => value.length <= 63 && VALUE.test(value);

/** Whether text is a label's key, of any domain. */
export const isLabelKey = isKey;

/** Labels without malformed ones and without those that controllers of this cluster obey. */
export const safeLabels = (labels: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(labels).filter(([key, value]) => isKey(key) && isLabelValue(value) && mayLabel(key)),
  );

/**
 * Annotations without prefix, and a few with one: other controllers' annotations are orders to them. Beyond 128 KiB in
 * all the rest is dropped (Kubernetes takes 256 KiB, and Fluvia adds its own).
 */
export const safeAnnotations = (annotations: Readonly<Record<string, string>>): Record<string, string> => {
  let left = MAX_ANNOTATION_BYTES;
  return Object.fromEntries(
    Object.entries(annotations).filter(([key, value]) => {
      const { prefix } = split(key);
      if (
        !isKey(key) ||
        !(prefix === undefined || SAFE_ANNOTATIONS.has(key) || SAFE_PREFIXES.includes(prefix))
      ) {
        return false;
      }
      // UTF-16 units are at most 3 bytes of UTF-8 each.
      left -= key.length + value.length * 3;
      return left >= 0;
    }),
  );
};
