/** A failure of the testbed that a person can act on: one line with the reason, one with the next step. */
export class TestbedError extends Error {
  /** What to do next, a sentence. */
  readonly next: string;

  constructor(message: string, next: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TestbedError';
    this.next = next;
  }
}
