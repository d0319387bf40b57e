/** Kubernetes' node selectors, as kube-scheduler reads them. */

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | undefined;
}

interface Term {
  readonly matchExpressions?: readonly Requirement[] | undefined;
  readonly matchFields?: readonly Requirement[] | undefined;
}

interface Labelled {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  };
}

/** Whether a label's value (undefined: no such label) meets a requirement. */
export const matchesRequirement = (
  value: string | undefined,
  { operator, values = [] }: Requirement,
): boolean => {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
};

const isEmptyTerm = (term: Term): boolean =>
  (term.matchExpressions ?? []).length === 0 && (term.matchFields ?? []).length === 0;

/** Whether a node meets one term; an empty term matches nothing. */
export const matchesTerm = (term: Term, node: Labelled): boolean =>
  !isEmptyTerm(term) &&
  (term.matchExpressions ?? []).every((r) => matchesRequirement(node.metadata.labels?.[r.key], r)) &&
  (term.matchFields ?? []).every(
    (r) => r.key === 'metadata.name' && matchesRequirement(node.metadata.name, r),
  );
